"""What a study will do, in one sentence, for whoever has left most of it to defaults."""

from service.search.pruning.pruners import first_step
from spezia.common.plural import plural
from spezia.contract import pruners
from spezia.contract.samplers import GridSampler
from spezia.contract.study_spec import StudySpec


def plan_words(spec: StudySpec) -> str:
    """Say which trials a study runs in which order, and what ends them early."""
    return f"{_trials(spec)}; {_endings(spec)}"


def _trials(spec: StudySpec) -> str:
    first = ["the baseline"] if spec.baseline else []
    if spec.enqueue:
        first.append(f"{len(spec.enqueue)} enqueued")
    proposer = "a grid" if isinstance(spec.sampler, GridSampler) else spec.sampler.name
    begin = f"{' and '.join(first)} first, then what {proposer} proposes" if first else f"what {proposer} proposes"
    return f"{plural(spec.n_trials, 'trial')}: {begin}"


def _endings(spec: StudySpec) -> str:
    patience, by_rungs = spec.training.early_stopping_patience, isinstance(spec.pruner, pruners.RungsPruner)
    unit = "epochs" if by_rungs else "evaluations"
    early = [] if patience is None or spec.task == "script" else [f"after {patience} {unit} without a better value"]
    match spec.pruner:
        case pruners.NoPruner():
            pruned = None
        case pruners.MedianPruner(options=options):
            pruned = (
                f"once {options.n_startup_trials} are complete, where it is worse than the median of the others at "
                "the same evaluation"
            )
        case pruners.RungsPruner(options=options):
            paused = (
                f"each pauses at rungs, where the best one of {options.eta} goes on, until {options.top} are complete"
            )
            return " and ".join([paused, *(f"ends {one}" for one in early)])
        case _:
            pruned = f"by the pruner {spec.pruner.name}, from evaluation {first_step(spec.pruner)} on"
    reasons = [*early, *([pruned] if pruned else [])]
    return f"a trial ends early {', and '.join(reasons)}" if reasons else "none ends early"
