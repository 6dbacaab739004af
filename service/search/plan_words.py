"""What a study will do, in one sentence, for whoever has left most of it to defaults.

It says only what can happen: neither a limit that no trial can reach, nor a sampler that is never asked.
"""

from collections.abc import Iterator

from service.search.pruning.percentile import percentile_of
from service.search.pruning.pruners import first_step, longest_schedule
from service.search.space.space_size import space_size
from service.search.warm_start.portfolio import MAX_TAKEN
from spezia.common.plural import plural
from spezia.contract import pruners
from spezia.contract.samplers import GridSampler
from spezia.contract.study_spec import StudySpec


def plan_words(spec: StudySpec) -> str:
    """Say which trials a study runs in which order, and what ends them early."""
    return "; ".join([*_small_runs(spec), _trials(spec), *_endings(spec), *_limits(spec), *_confirmation(spec)])


def _n_trials(spec: StudySpec) -> int:
    """Number of trials that run, if nothing ends the study before: a grid ends with its last point."""
    size = space_size(spec) if isinstance(spec.sampler, GridSampler) else None
    return spec.n_trials if size is None else min(size, spec.n_trials)


def _small_runs(spec: StudySpec) -> Iterator[str]:
    small = spec.start_small
    if small is not None:
        share = f"{100 * small.fraction:g} % of the training rows"
        yield f"the params of {plural(small.trials, 'trial')} are tried on {share} first"


def _trials(spec: StudySpec) -> str:
    n_trials = _n_trials(spec)
    begun = [f"{len(spec.enqueue):,} enqueued"] if spec.enqueue else []
    n_left = n_trials - spec.baseline - len(spec.enqueue)
    if spec.starts_warm and n_left > 0:
        begun.append(f"up to {min(MAX_TAKEN, n_left)} of the best of finished studies like it")
    if n_left < 1:
        return f"{plural(n_trials, 'trial')}: {' and '.join([*begun, *(['the baseline'] if spec.baseline else [])])}"
    first = [f"{' and '.join(begun)} first"] if begun else []
    if spec.baseline:
        first.append("the baseline behind the first of them" if begun else "the baseline first")
    proposed = f"what {'a grid' if isinstance(spec.sampler, GridSampler) else spec.sampler.name} proposes"
    return f"{plural(n_trials, 'trial')}: {', '.join([*first, 'then ' + proposed if first else proposed])}"


def _endings(spec: StudySpec) -> Iterator[str]:
    """Say what pauses trials, and what ends them before their last evaluation."""
    paused = _paused(spec)
    reasons = [*_patience(spec), *_pruned(spec)]
    if paused:
        yield paused
    if reasons:
        yield f"a trial ends early {', and '.join(reasons)}"
    elif not paused:
        yield "none ends early"


def _patience(spec: StudySpec) -> Iterator[str]:
    patience = spec.training.early_stopping_patience
    if patience is None or spec.task == "script":
        return
    by_rungs = isinstance(spec.pruner, pruners.RungsPruner)
    n_evaluations = patience * (spec.training.evaluations_per_epoch if by_rungs else 1)
    # the first evaluation is always the best so far, and behind the last one nothing is left to end
    if 1 + n_evaluations < longest_schedule(spec):
        yield f"after {plural(patience, 'epoch' if by_rungs else 'evaluation')} without a better value"


def _pruned(spec: StudySpec) -> Iterator[str]:
    pruner = spec.pruner
    if isinstance(pruner, pruners.NoPruner | pruners.RungsPruner) or not _acts(spec):
        return
    if _n_trials(spec) == spec.baseline:
        return  # no pruner ends the baseline
    if _n_trials(spec) == 1 and not isinstance(pruner, pruners.PatientPruner | pruners.ThresholdPruner):
        return  # there is none to compare it with
    first = first_step(pruner)
    since = f"from evaluation {first} on"
    if not isinstance(pruner, pruners.MedianPruner | pruners.PercentilePruner):
        yield f"by the pruner {pruner.name}, {since}"
        return
    n_startup = pruner.options.n_startup_trials
    if n_startup >= _n_trials(spec) or percentile_of(pruner) == 100:
        return
    once = f"once {n_startup:,} {'is' if n_startup == 1 else 'are'} complete, " if n_startup else ""
    others = "of the others at the same evaluation"
    if isinstance(pruner, pruners.MedianPruner):
        which = f"where it is worse than the median {others}"
    else:
        which = f"where it is not among the best {pruner.options.percentile:g} % {others}"
    yield f"{once}{which}" + (f", {since}" if first > 1 else "")


def _paused(spec: StudySpec) -> str | None:
    """Say who pauses at rungs and who goes on; ``None``: nobody pauses."""
    n_passing = int(spec.baseline)
    n_pausing = _n_trials(spec) - n_passing
    if not isinstance(spec.pruner, pruners.RungsPruner) or not _acts(spec) or n_pausing < 1:
        return None
    eta, top = spec.pruner.options.eta, spec.pruner.options.top
    who = "each but the baseline" if spec.baseline else "each"
    if spec.starts_warm:
        who += f"{' and' if spec.baseline else ' but'} the first of finished studies"
    until = "all are complete" if top >= n_pausing else f"{top:,} {'is' if top == 1 else 'are'} complete"
    return f"{who} pauses at rungs, where the best one of {eta} goes on, until {until}"


def _acts(spec: StudySpec) -> bool:
    """Whether the pruner looks at a trial before its last evaluation; how often a script reports is not known."""
    return spec.task == "script" or first_step(spec.pruner) < longest_schedule(spec)


def _limits(spec: StudySpec) -> Iterator[str]:
    ends = []
    if spec.target_value is not None:
        ends.append(f"when a trial reaches {spec.target_value:g}")
    if spec.timeout_seconds is not None:
        ends.append(f"after {spec.timeout_seconds:,.10g} seconds")
    if spec.device_seconds is not None:
        ends.append(f"when {spec.device_seconds:,.10g} device seconds are used up")
    if ends:
        yield f"the study ends {', or '.join(ends)}, if that comes first"


def _confirmation(spec: StudySpec) -> Iterator[str]:
    confirm = spec.confirm
    if confirm is not None:
        n_best, seeds = min(confirm.top, _n_trials(spec)), f"again under {confirm.seeds} fresh seeds"
        if _n_trials(spec) == 1:
            yield f"in the end the baseline runs {seeds}"
        else:
            yield f"in the end the best {f'{n_best} ' if n_best > 1 else ''}and the baseline run {seeds}"
