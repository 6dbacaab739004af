"""A study as the service describes it while it runs and after it has ended."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Literal

from spezia.contract.facts import Facts
from spezia.contract.failure import Failure
from spezia.contract.quote import Quote
from spezia.contract.saved import SavedSeconds
from spezia.contract.start_small import SmallRuns
from spezia.contract.study_spec import CheckedSpec
from spezia.contract.wire import Count, Reply

StudyState = Literal["running", "paused", "stopping", "complete", "cancelled", "failed"]
"""States of a study; the last three are final, unless a raised limit makes a study go on."""

StudyOrder = Literal["name", "-name", "created_at", "-created_at"]
"""Orders of a list of studies; a minus sign reverses the order."""


class TrialCounts(Reply):
    """Number of a study's trials in each state."""

    waiting: Count = 0
    """Trials that wait for a worker or, paused, for their promotion."""
    paused: Count = 0
    """Waiting trials that are paused at a rung, under the pruner ``rungs``; they count among ``waiting`` too."""
    running: Count = 0
    """Trials that a worker carries out now."""
    complete: Count = 0
    """Trials that were carried out to their end."""
    pruned: Count = 0
    """Trials that were ended early but have a value."""
    fail: Count = 0
    """Trials that failed or were cancelled."""

    @property
    def n_finished(self) -> int:
        """Number of trials that have ended, however they ended."""
        return self.complete + self.pruned + self.fail

    @property
    def n_total(self) -> int:
        """Number of trials in all states together."""
        return self.waiting + self.running + self.n_finished


class Best(Reply):
    """The best trial of a study so far, in short."""

    number: Count
    """Number of the trial within its study, from 0."""
    value: float
    """Value of the trial."""


class Study(Reply):
    """A study: its spec, its state and what it has found so far."""

    name: str
    """Unique name of the study."""
    owner: str | None = None
    """Name of the API key that created the study; null where it was created without a key."""
    state: StudyState
    """State of the study.

    - ``running``: trials start as workers ask for them.
    - ``paused``: no trial starts until the study is resumed, and its clock stands.
    - ``stopping``: no trial starts any more, and the study ends when its running trials have.
    - ``complete``: the study has ended by itself or was stopped.
    - ``cancelled``: a person has ended the study at once.
    - ``failed``: the study could not be prepared, or too many of its trials failed in the same way.
    """
    failure: Failure | None
    """Reason why the study failed or is about to fail; null otherwise."""
    spec: CheckedSpec
    """The study as it was posted, defaults and preset filled in."""
    facts: Facts | None
    """What a worker found out about data and model; null until the study is prepared."""
    trials: TrialCounts
    """Number of the study's trials in each state."""
    best: Best | None
    """The best COMPLETE trial so far; null while there is none, and where the study has several objectives (see
    ``pareto``)."""
    pareto: list[Count] | None = None
    """Numbers of the trials on the Pareto front so far, the best by the first objective first; null where the study
    has one objective."""
    n_finished: Count
    """Number of trials that have ended, however they ended; ``spec.n_trials`` is how many there will be."""
    failures: dict[str, Count] = {}
    """Number of failed trials by failure class."""
    generalization_gap: float | None = None
    """Validation loss minus training loss of the best trial so far at its best evaluation, in nats; null where one of
    them is not known."""
    elapsed_seconds: float
    """Seconds from the study's creation to its end, or to now, pauses not counted: what ``timeout_seconds`` limits."""
    device_seconds: float
    """Device seconds that all attempts of all trials have used."""
    replay_seconds: float = 0.0
    """Device seconds that replays of trials have used, which count towards no budget and are not among
    ``device_seconds``."""
    saved_seconds: SavedSeconds = SavedSeconds()
    """Device seconds that pruning, early stopping and the trunk cache have saved."""
    quote: Quote | None = None
    """What the study will take, said when it was prepared; null until then, and where no steps could be timed."""
    quote_error: float | None = None
    """By which share of ``quote.device_seconds.expected`` the study took more, trials that ended early counted as if
    they had not, but for those that were dropped at rungs; null until the study has completed all trials that were
    quoted, and where some of them failed."""
    created_at: datetime
    """Time of the study's creation."""
    finished_at: datetime | None
    """Time at which the study ended; null while it goes on."""
    start_small: SmallRuns | None = None
    """How well small runs predict full ones; null where the study has none."""
    n_confirm_runs: Count = 0
    """Number of runs under fresh seeds that have ended, of those that ``spec.confirm`` asks for."""
    warnings: list[str] = []
    """What is allowed but likely to disappoint, and what happened on the way, with what to do about it."""

    def __repr_args__(self) -> Iterable[tuple[str, Any]]:
        """Yield what ``repr`` shows: the whole of a study fills pages, and a notebook shows what a cell ends with."""
        return [(name, getattr(self, name)) for name in ("name", "state", "n_finished", "best")]


class StudyList(Reply):
    """One page of a list of studies."""

    studies: list[Study]
    """Studies of this page, in the order that was asked for."""
    next_page_token: str | None
    """Value of ``page_token`` for the next page; null on the last page."""
