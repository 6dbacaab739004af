"""What a trial looks like to people."""

from datetime import datetime
from typing import Literal

from service.contract.study import Failure, Params
from service.contract.wire import Count, Reply

TrialState = Literal["WAITING", "RUNNING", "COMPLETE", "PRUNED", "FAIL"]


class Trial(Reply):
    study: str
    number: Count
    state: TrialState
    params: Params
    value: float | None
    """Its best evaluation; of a PRUNED trial the last one, as in Optuna."""
    step: Count
    """Its last evaluation, counted from 1; 0: none yet."""
    epoch: float
    failure: Failure | None
    baseline: bool
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


class TrialDetail(Trial):
    intermediate_values: list[Evaluation]
    attempts: list[Attempt]
    best_step: Count | None = None
    """The step of its best evaluation."""
    generalization_gap: float | None = None
    """Validation loss minus training loss at its best evaluation."""
    warnings: list[str] = []
    """What its curves say, and the edit of the search space that would help."""
    log_tail: list[str] = []
    """Of a trial that failed: its last log lines."""


class Artifact(Reply):
    file: str
    """Path inside the model's directory."""
    size_bytes: Count
    sha256: str


class ArtifactList(Reply):
    artifacts: list[Artifact]
    """None where the trial's model is not kept."""


class TrialList(Reply):
    trials: list[Trial]
    next_page_token: str | None
