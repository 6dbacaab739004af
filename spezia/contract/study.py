"""What a person gets back of a study: `Study` while it runs, `BestTrial` as its answer."""

from datetime import datetime
from typing import Literal

from spezia.contract.facts import Facts
from spezia.contract.failure import Failure
from spezia.contract.start_small import SmallRuns
from spezia.contract.study_spec import CheckedSpec
from spezia.contract.wire import Count, Reply

StudyState = Literal["running", "paused", "stopping", "complete", "cancelled", "failed"]
StudyOrder = Literal["name", "-name", "created_at", "-created_at"]
"""Of a list; with a minus sign from the end."""


class TrialCounts(Reply):
    waiting: Count = 0
    running: Count = 0
    complete: Count = 0
    pruned: Count = 0
    fail: Count = 0

    @property
    def n_finished(self) -> int:
        """How many trials have ended, in whatever way."""
        return self.complete + self.pruned + self.fail

    @property
    def n_total(self) -> int:
        """How many trials there are, in whatever state."""
        return self.waiting + self.running + self.n_finished


class Best(Reply):
    number: Count
    value: float


class Study(Reply):
    name: str
    owner: str | None = None
    """Name of the API key that created it; null: it was created without one."""
    state: StudyState
    failure: Failure | None
    """Why a ``failed`` study failed."""
    spec: CheckedSpec
    facts: Facts | None
    trials: TrialCounts
    best: Best | None
    """Null with several objectives: see ``pareto``."""
    pareto: list[Count] | None = None
    """Numbers of the trials on the Pareto front so far, the best by the first objective first; null with one
    objective."""
    n_finished: Count
    failures: dict[str, Count] = {}
    """How many trials failed, by failure class."""
    generalization_gap: float | None = None
    """Of the best trial so far: validation loss minus training loss at its best evaluation."""
    elapsed_seconds: float
    """From creation to the end, or to now."""
    device_seconds: float
    """Summed over all attempts of all trials."""
    created_at: datetime
    finished_at: datetime | None
    start_small: SmallRuns | None = None
    """Null where the spec does not ask for it."""
    warnings: list[str] = []


class StudyList(Reply):
    studies: list[Study]
    next_page_token: str | None
