"""Says how an assignment ended on this worker, and what the service is told about it."""

from dataclasses import dataclass, field
from typing import Any, Literal

from spezia.contract.evaluation import Metrics
from spezia.contract.facts import Facts, Similarity
from spezia.contract.failure import Failure
from spezia.contract.outcomes import (
    ConfirmOutcome,
    Outcome,
    PreparedOutcome,
    ProbeOutcome,
    ReplayedEvaluation,
    ReplayOutcome,
    ScoreOutcome,
    SmallOutcome,
    TrialOutcome,
    TrialSpeed,
)
from spezia.contract.step_times import StepTimes

_KEEP_REPORTS = ("diverged", "budget")
"""Classes of failures after which the reports made so far still count."""


@dataclass(frozen=True, kw_only=True)
class Ending:
    """What came of an assignment."""

    device_seconds: float
    """Wall time during which the engine had the assignment."""
    n_reports: int = 0
    """Number of the trial's reports, those of earlier attempts included."""
    is_pruned: bool = False
    """Whether the service said that the trial is to be pruned."""
    is_paused: bool = False
    """Whether the trial was paused, so that there is no outcome yet."""
    failure: Failure | None = None
    """Why the assignment failed; ``None``: it did not."""
    facts: Facts | None = None
    """What was found, of an assignment to prepare."""
    similarity: Similarity | None = None
    """How close the task is to what the model knows, of a probe."""
    step_times: StepTimes | None = None
    """What trials will take, of a probe."""
    metrics: Metrics | None = None
    """What was measured, of a pilot, a run that confirms a trial, or an assignment to score."""
    row_scores: list[float] | None = None
    """The objective on each validation row, of a run that confirms a trial."""
    replayed: list[ReplayedEvaluation] = field(default_factory=list)
    """Evaluations of a replay."""
    has_model: bool = False
    """Whether the engine has saved the best model."""
    speed: TrialSpeed | None = None
    """What was measured of the speed of a trial."""


Kind = Literal["prepare", "probe", "small", "trial", "replay", "confirm", "score"]


def outcome_of(kind: Kind, ending: Ending) -> Outcome:
    """Return the outcome that tells the service how an assignment of this kind ended."""
    common: dict[str, Any] = {"kind": kind, "failure": ending.failure, "device_seconds": ending.device_seconds}
    match kind:
        case "prepare":
            return PreparedOutcome(**common, facts=ending.facts)
        case "probe":
            return ProbeOutcome(**common, similarity=ending.similarity, step_times=ending.step_times)
        case "small":
            return SmallOutcome(**common, metrics=ending.metrics)
        case "trial":
            failure = ending.failure
            if failure is None and ending.n_reports == 0:
                failure = Failure(failure_class="no_metric", message="the trial ended without any evaluation")
            state = _state(ending, failure)
            return TrialOutcome(**common | {"failure": failure}, state=state, speed=ending.speed)
        case "replay":
            return ReplayOutcome(**common, evaluations=ending.replayed)
        case "confirm":
            return ConfirmOutcome(**common, metrics=ending.metrics, row_scores=ending.row_scores)
        case "score":
            return ScoreOutcome(**common, metrics=ending.metrics)


def _state(ending: Ending, failure: Failure | None) -> Literal["COMPLETE", "PRUNED", "FAIL"]:
    if failure is None:
        return "PRUNED" if ending.is_pruned else "COMPLETE"
    if failure.failure_class in _KEEP_REPORTS and ending.n_reports > 0:
        return "PRUNED"
    return "FAIL"
