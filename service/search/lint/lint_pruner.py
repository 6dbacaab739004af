"""What is odd about a pruner that can never act, or that compares what cannot be compared."""

from collections.abc import Iterator

from service.search.edits import fix, lower_field, raise_field, set_field, together
from service.search.finding import Finding, Gain, Remedy, some
from service.search.pruning.comparable import n_schedules
from service.search.pruning.pruners import first_step, longest_schedule
from service.search.space.allowed import largest
from spezia.common.plural import plural
from spezia.contract import pruners
from spezia.contract.study_spec import StudySpec

_MIN_PEERS = 3
_SHARES = ("accuracy", "f1_macro", "f1_micro", "subset_accuracy", "span_f1", "span_precision", "span_recall")
"""Metrics that lie between 0 and 1."""


def pruner_findings(spec: StudySpec) -> Iterator[Finding]:
    """Yield why no trial will be pruned, or some for the wrong reason."""
    if isinstance(spec.pruner, pruners.NoPruner):
        return
    n_evaluations = longest_schedule(spec)
    first = first_step(spec.pruner)
    if n_evaluations == 1:
        yield Finding(
            field="pruner.name",
            message="a trial has one evaluation, and the last one is never pruned: the pruner cannot act",
            gain=Gain.EFFECT,
            remedies=some(_evaluate_more(spec, first), Remedy(words="raise epochs"), _use_pruner("none")),
        )
    elif first >= n_evaluations:
        yield Finding(
            field="pruner.options",
            message=f"acts from evaluation {first} on; the longest trial has {n_evaluations}, the last never pruned",
            gain=Gain.EFFECT,
            remedies=some(_act_earlier(spec, n_evaluations), _evaluate_more(spec, first), _use_pruner("none")),
        )
    else:
        yield from _peers(spec)
        yield from _rungs(spec, n_evaluations)
    yield from _threshold(spec)


def _evaluate_more(spec: StudySpec, first: int) -> Remedy | None:
    """Evaluate so often that the pruner may act before the last evaluation of the longest trial."""
    epochs = longest_schedule(spec) // spec.training.evaluations_per_epoch
    return raise_field(spec, "training.evaluations_per_epoch", first // epochs + 1)


def _act_earlier(spec: StudySpec, n_evaluations: int) -> Remedy | None:
    """Let the pruner act about half-way through the longest trial, or where it knows no such place at once."""
    match spec.pruner:
        case pruners.MedianPruner() | pruners.PercentilePruner() | pruners.ThresholdPruner():
            return lower_field(spec, "pruner.options.n_warmup_steps", n_evaluations // 2 - 1)
        case pruners.SuccessiveHalvingPruner():
            return together(
                lower_field(spec, "pruner.options.min_resource", 1),
                lower_field(spec, "pruner.options.min_early_stopping_rate", 0),
            )
        case pruners.HyperbandPruner():
            return lower_field(spec, "pruner.options.min_resource", 1)
        case pruners.PatientPruner():
            return lower_field(spec, "pruner.options.patience", n_evaluations - 3) if n_evaluations >= 3 else None
        case pruners.RungsPruner():
            return lower_field(spec, "pruner.options.first", 1)
        case pruners.NoPruner():
            return None


def _use_pruner(name: str) -> Remedy:
    return set_field("pruner", {"name": name}, f"use pruner {name}")


def _peers(spec: StudySpec) -> Iterator[Finding]:
    """Those that compare a trial with others need others."""
    if isinstance(spec.pruner, pruners.MedianPruner | pruners.PercentilePruner):
        n_startup = spec.pruner.options.n_startup_trials
        if n_startup >= spec.n_trials:
            fewer = max(1, spec.n_trials // 4)
            yield Finding(
                field="pruner.options.n_startup_trials",
                message=f"{n_startup} trials have to complete first and there are {spec.n_trials}: it cannot act",
                gain=Gain.EFFECT,
                remedies=some(
                    lower_field(spec, "pruner.options.n_startup_trials", fewer, f"lower it to {fewer}"),
                    Remedy(words="raise n_trials"),
                ),
            )
        elif spec.n_parallel is not None and 2 * spec.n_parallel > spec.n_trials > 1:
            halving = _use_pruner("successive-halving")
            yield Finding(
                field="n_parallel",
                message=f"{spec.n_parallel} of {spec.n_trials} trials run at once, and {spec.pruner.name} compares "
                "with completed ones: few are left to prune",
                gain=Gain.COST,
                remedies=some(
                    lower_field(spec, "n_parallel", spec.n_trials // 2),
                    Remedy(words=f"{halving.words}, which compares running trials too", changes=halving.changes),
                ),
            )
    elif not isinstance(spec.pruner, pruners.SuccessiveHalvingPruner | pruners.HyperbandPruner | pruners.RungsPruner):
        return
    n = n_schedules(spec)
    is_exact = isinstance(spec.pruner, pruners.RungsPruner)
    as_many = "as many epochs" if is_exact else "as many epochs or more"
    if n > 1 and spec.n_trials < _MIN_PEERS * n:
        longest = int(largest(spec, "epochs"))
        yield Finding(
            field="search_space.epochs",
            message=f"a trial is compared only with trials of {as_many}, and {spec.n_trials} trials have "
            f"{n} numbers of epochs: {'each has' if is_exact else 'the longest have'} few peers",
            gain=Gain.COST,
            remedies=some(
                fix(spec, "epochs", longest, f"fix epochs at {longest} (the best evaluation counts, not the last)"),
                raise_field(spec, "n_trials", _MIN_PEERS * n),
                Remedy(words="search fewer of them"),
            ),
        )


def _rungs(spec: StudySpec, n_evaluations: int) -> Iterator[Finding]:
    """Rungs save the most where the first one is early, and nothing where all trials run to their end."""
    if not isinstance(spec.pruner, pruners.RungsPruner):
        return
    eta, top = spec.pruner.options.eta, spec.pruner.options.top
    if n_evaluations <= eta**2:
        yield Finding(
            field="training.evaluations_per_epoch",
            message=f"the longest trial has {plural(n_evaluations, 'evaluation')}: its first rung is late, and little "
            "is saved",
            gain=Gain.COST,
            remedies=some(_evaluate_more(spec, eta**2), Remedy(words="raise epochs")),
        )
    n_pausing = spec.n_trials - spec.baseline  # which never pauses
    if top >= n_pausing:
        beside = " beside the baseline" if spec.baseline else ""
        yield Finding(
            field="pruner.options.top",
            message=f"{top} trials are carried out to their end and there are {n_pausing}{beside}: none is dropped",
            gain=Gain.COST,
            remedies=some(
                lower_field(spec, "pruner.options.top", max(1, spec.n_trials // eta)), Remedy(words="raise n_trials")
            ),
        )


def _threshold(spec: StudySpec) -> Iterator[Finding]:
    """A threshold is on the objective, whatever the loss does."""
    if not isinstance(spec.pruner, pruners.ThresholdPruner):
        return
    metric, options = spec.metric, spec.pruner.options
    good, bad = ("upper", "lower") if spec.direction == "maximize" else ("lower", "upper")
    limits = {"lower": options.lower, "upper": options.upper}
    if metric in _SHARES and any(limit is not None and not 0 <= limit <= 1 for limit in limits.values()):
        yield Finding(
            field="pruner.options",
            message=f"the threshold looks like a loss, but it is compared with the objective {metric}, between 0 and 1",
            gain=Gain.EFFECT,
            remedies=(
                Remedy(words=f"give a threshold of {metric}"),
                Remedy(words="make validation_loss the objective"),
            ),
        )
    elif limits[good] is not None:
        yield Finding(
            field=f"pruner.options.{good}",
            message=f"ends trials whose {metric} is better than {limits[good]:g}",
            gain=Gain.EFFECT,
            remedies=(
                Remedy(words=f"use {bad}"),
                Remedy(words="use target_value, to end the study at a value that is good enough"),
            ),
        )
