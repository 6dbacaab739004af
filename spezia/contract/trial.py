"""What a trial looks like to people."""

from datetime import datetime
from typing import Literal

from spezia.contract.failure import Failure
from spezia.contract.study_spec import Params
from spezia.contract.wire import Count, Reply, Wire

TrialState = Literal["WAITING", "RUNNING", "COMPLETE", "PRUNED", "FAIL"]
TrialOrder = Literal["number", "-number", "value", "-value"]
"""Of a list; ``value``: the best first, ``-value``: the worst first, trials without a value last in both."""


class EnqueuedTrial(Wire):
    """A trial to run; searched params that are left out are drawn."""

    params: Params = {}


class Trial(Reply):
    study: str
    number: Count
    state: TrialState
    params: Params
    value: float | None
    """Its best evaluation, of several objectives by the first; of a PRUNED trial the last one, as in Optuna."""
    values: dict[str, float] = {}
    """Of a COMPLETE trial all objectives at its best evaluation, by metric."""
    violations: dict[str, float] = {}
    """Of a COMPLETE trial the constraints that its best evaluation does not meet, and by how much: it is never the
    best."""
    step: Count
    """Its last evaluation, counted from 1; 0: none yet."""
    epoch: float
    failure: Failure | None
    baseline: bool
    retry_of: Count | None = None
    """The FAIL trial whose params these are."""
    started_at: datetime | None
    finished_at: datetime | None


class Evaluation(Reply):
    step: Count
    epoch: float
    optimizer_steps: Count
    value: float
    metrics: dict[str, float]
    should_prune: bool
    reason: str | None
    reported_at: datetime


class Attempt(Reply):
    attempt: Count
    resumed_from: Count = 0
    """The step of the checkpoint that it went on from; 0: it began anew."""
    worker_id: str
    device: str
    started_at: datetime
    ended_at: datetime | None
    end: str | None
    """The trial's state, or the class of what ended the attempt; null while it runs."""
    device_seconds: float


class PruneDecision(Reply):
    """Why a trial was pruned. What the pruner's rule does not know is null."""

    attempt: Count
    step: Count
    pruner: str
    reason: str
    value: float
    """That was compared."""
    threshold: float | None
    rank: int | None
    """Of the value among its peers' and itself, from 1."""
    rung: int | None
    peers: list[Count]
    """Numbers of the trials that it was compared with."""
    decided_at: datetime


class TrialDetail(Trial):
    intermediate_values: list[Evaluation]
    attempts: list[Attempt]
    decisions: list[PruneDecision] = []
    best_step: Count | None = None
    """The step of its best evaluation."""
    generalization_gap: float | None = None
    """Validation loss minus training loss at its best evaluation."""
    warnings: list[str] = []
    """What its curves say, and the edit of the search space that would help."""
    log_tail: list[str] = []
    """Of a trial that failed: its last log lines."""


class TrialList(Reply):
    trials: list[Trial]
    next_page_token: str | None
