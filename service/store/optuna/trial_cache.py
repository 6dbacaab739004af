"""What this process has seen of its studies' trials, so that a transaction reads only what has changed since.

Every change of a trial comes with an event of its study, under the study's lock: the sequence of the last event tells
how old a picture is, also where another process wrote. Pictures are shown here after the commit of the transaction
that saw them, never before: a rolled-back tell would poison them.
"""

from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock

from optuna.trial import FrozenTrial

from service.store.optuna.summaries import Summaries

MAX_STUDIES = 32
"""The pictures that were used last are kept; 1,000 trials of seven params and five steps are some 5 MB."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """All trials of a study at one moment."""

    revision: int
    """Sequence of the study's last event by then."""
    trials: list[FrozenTrial]
    """In the order of their numbers; shared, neither list nor trials may be changed."""
    n_settled: int
    """As many of the first trials have finished: they never change again."""
    summaries: Summaries
    """Of these."""


MAX_LEASES = 10_000


class SeenTrials:
    """Shared by threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._study_of_lease: OrderedDict[str, int] = OrderedDict()
        self._by_study: OrderedDict[int, Picture] = OrderedDict()

    def of(self, study_id: int) -> Picture | None:
        with self._lock:
            if study_id in self._by_study:
                self._by_study.move_to_end(study_id)
            return self._by_study.get(study_id)

    def show(self, study_id: int, picture: Picture) -> None:
        """Keep what a committed transaction saw, unless a newer picture is here already."""
        with self._lock:
            current = self._by_study.get(study_id)
            if current is None or current.revision < picture.revision:
                self._by_study[study_id] = picture
                self._by_study.move_to_end(study_id)
            if len(self._by_study) > MAX_STUDIES:
                self._by_study.popitem(last=False)

    def note_lease(self, lease_id: str, study_id: int) -> None:
        """Remember which study a lease belongs to, for good and all: neither id is ever used again."""
        with self._lock:
            self._study_of_lease[lease_id] = study_id
            if len(self._study_of_lease) > MAX_LEASES:
                self._study_of_lease.popitem(last=False)

    def study_of_lease(self, lease_id: str) -> int | None:
        """``None``: this process has not met the lease. A known one may have ended, and its study too."""
        with self._lock:
            return self._study_of_lease.get(lease_id)

    def forget(self, study_id: int) -> None:
        with self._lock:
            self._by_study.pop(study_id, None)
