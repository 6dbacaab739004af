"""How an assignment ended on this worker, and what the service is told about it."""

from dataclasses import dataclass
from typing import Literal

from spezia.contract.facts import Facts
from spezia.contract.failure import Failure
from spezia.contract.protocol import Metrics, Outcome, PreparedOutcome, ScoreOutcome, SmallOutcome, TrialOutcome

_KEEP_REPORTS = ("diverged", "budget")
"""Ends after which the reports made so far still count."""


@dataclass(frozen=True, kw_only=True)
class Ending:
    """What came of an assignment."""

    device_seconds: float
    """Wall time that the engine had it."""
    n_reports: int = 0
    is_pruned: bool = False
    failure: Failure | None = None
    facts: Facts | None = None
    metrics: Metrics | None = None
    has_model: bool = False
    """The engine has saved the best model."""


def outcome_of(kind: Literal["prepare", "small", "trial", "score"], ending: Ending) -> Outcome:
    """What to tell the service."""
    seconds = ending.device_seconds
    if kind == "prepare":
        return PreparedOutcome(kind=kind, facts=ending.facts, failure=ending.failure, device_seconds=seconds)
    if kind == "score":
        return ScoreOutcome(kind=kind, metrics=ending.metrics, failure=ending.failure, device_seconds=seconds)
    if kind == "small":
        return SmallOutcome(kind=kind, metrics=ending.metrics, failure=ending.failure, device_seconds=seconds)
    failure = ending.failure
    if failure is None and ending.n_reports == 0:
        failure = Failure(failure_class="no_metric", message="the trial ended without any evaluation")
    return TrialOutcome(kind=kind, state=_state(ending, failure), failure=failure, device_seconds=seconds)


def _state(ending: Ending, failure: Failure | None) -> Literal["COMPLETE", "PRUNED", "FAIL"]:
    if failure is None:
        return "PRUNED" if ending.is_pruned else "COMPLETE"
    if failure.failure_class in _KEEP_REPORTS and ending.n_reports > 0:
        return "PRUNED"
    return "FAIL"
