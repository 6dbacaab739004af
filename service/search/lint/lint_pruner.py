"""Warnings about a pruner that can never act, or that compares what cannot be compared."""

from collections.abc import Iterator

from service.search.pruning.comparable import n_schedules
from service.search.pruning.pruners import longest_schedule
from spezia.contract import pruners
from spezia.contract.study_spec import StudySpec
from spezia.contract.validation import SpecWarning

_MIN_PEERS = 3
_SHARES = ("accuracy", "f1_macro", "f1_micro", "subset_accuracy", "span_f1", "span_precision", "span_recall")
"""Metrics that lie between 0 and 1."""


def pruner_warnings(spec: StudySpec) -> Iterator[SpecWarning]:
    """Yield the warnings that no trial will be pruned, or some for the wrong reason."""
    if isinstance(spec.pruner, pruners.NoPruner):
        return
    n_evaluations = longest_schedule(spec)
    first = _first_step(spec.pruner)
    if n_evaluations == 1:
        yield SpecWarning(
            field="pruner.name",
            message="a trial has one evaluation, and the last one is never pruned: the pruner cannot act",
            advice="raise training.evaluations_per_epoch or epochs, or use pruner none",
        )
    elif first >= n_evaluations:
        yield SpecWarning(
            field="pruner.options",
            message=f"acts from evaluation {first} on; the longest trial has {n_evaluations}, the last never pruned",
            advice="let it act earlier, or raise training.evaluations_per_epoch",
        )
    else:
        yield from _peers(spec)
    yield from _threshold(spec)


def _first_step(pruner: pruners.Pruner) -> int:
    """The first evaluation, counted from 1, at which the pruner may end a trial."""
    match pruner:
        case pruners.MedianPruner(options=options) | pruners.PercentilePruner(options=options):
            return options.n_warmup_steps + 1
        case pruners.ThresholdPruner(options=options):
            return options.n_warmup_steps + 1
        case pruners.SuccessiveHalvingPruner(options=options):
            return int(options.min_resource * options.reduction_factor**options.min_early_stopping_rate)
        case pruners.HyperbandPruner(options=options):
            return options.min_resource
        case pruners.PatientPruner(options=options):
            # the first evaluation, and one more than the patience without a better one
            return options.patience + 2
        case pruners.NoPruner():
            raise AssertionError("no pruner has no first step")


def _peers(spec: StudySpec) -> Iterator[SpecWarning]:
    """Those that compare a trial with others need others."""
    if isinstance(spec.pruner, pruners.MedianPruner | pruners.PercentilePruner):
        n_startup = spec.pruner.options.n_startup_trials
        if n_startup >= spec.n_trials:
            yield SpecWarning(
                field="pruner.options.n_startup_trials",
                message=f"{n_startup} trials have to complete first and there are {spec.n_trials}: it cannot act",
                advice=f"lower it to {max(1, spec.n_trials // 4)}, or raise n_trials",
            )
        elif spec.n_parallel is not None and 2 * spec.n_parallel > spec.n_trials > 1:
            yield SpecWarning(
                field="n_parallel",
                message=f"{spec.n_parallel} of {spec.n_trials} trials run at once, and {spec.pruner.name} compares "
                "with completed ones: few are left to prune",
                advice="lower n_parallel, or use pruner successive-halving, which compares running trials too",
            )
    elif not isinstance(spec.pruner, pruners.SuccessiveHalvingPruner | pruners.HyperbandPruner):
        return
    n = n_schedules(spec)
    if n > 1 and spec.n_trials < _MIN_PEERS * n:
        yield SpecWarning(
            field="search_space.epochs",
            message=f"a trial is compared only with trials of as many epochs or more, and {spec.n_trials} trials have "
            f"{n} numbers of epochs: the longest have few peers",
            advice="fix epochs at the largest (the best evaluation counts, not the last), or raise n_trials",
        )


def _threshold(spec: StudySpec) -> Iterator[SpecWarning]:
    """A threshold is on the objective, whatever the loss does."""
    if not isinstance(spec.pruner, pruners.ThresholdPruner):
        return
    metric, options = spec.metric, spec.pruner.options
    good, bad = ("upper", "lower") if spec.direction == "maximize" else ("lower", "upper")
    limits = {"lower": options.lower, "upper": options.upper}
    if metric in _SHARES and any(limit is not None and not 0 <= limit <= 1 for limit in limits.values()):
        yield SpecWarning(
            field="pruner.options",
            message=f"the threshold looks like a loss, but it is compared with the objective {metric}, between 0 and 1",
            advice=f"give a threshold of {metric}, or make validation_loss the objective",
        )
    elif limits[good] is not None:
        yield SpecWarning(
            field=f"pruner.options.{good}",
            message=f"ends trials whose {metric} is better than {limits[good]:g}",
            advice=f"use {bad}; to end the study at a value that is good enough, use target_value",
        )
