"""Snapshots of studies' trials that this process keeps, so that a transaction reads only what has changed since.

Every change of a trial comes with an event of its study, under the study's lock: the sequence of the last event tells
how old a snapshot is, also where another process wrote. A snapshot is put here after the commit of the transaction that
made it, never before: a rolled-back tell would poison it.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from threading import Lock

from optuna.trial import FrozenTrial

from service.store.optuna.summaries import Summaries

MAX_BYTES = 256 * 2**20
"""Memory for snapshots, those used last: of 100,000 trials or so, in however many studies."""


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """All trials of a study at one moment."""

    revision: int
    """Sequence of the study's last event by then."""
    trials: list[FrozenTrial]
    """The trials in the order of their numbers; shared, so neither list nor trials may be changed."""
    unfinished: Mapping[int, int]
    """Places in ``trials`` by trial id, of those that have not finished; all others never change again."""
    summaries: Summaries
    """What these others come to, as far as it has been asked for."""
    n_bytes: int
    """About how much memory the trials take."""


class TrialCache:
    """The last snapshot of each study, as far as memory reaches; shared by threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._by_study: OrderedDict[int, Snapshot] = OrderedDict()
        self._n_bytes = 0

    def get(self, study_id: int) -> Snapshot | None:
        """Return the snapshot of a study; ``None`` if there is none."""
        with self._lock:
            if study_id in self._by_study:
                self._by_study.move_to_end(study_id)
            return self._by_study.get(study_id)

    def put(self, study_id: int, snapshot: Snapshot) -> None:
        """Keep the snapshot of a committed transaction, unless a newer one is here already."""
        with self._lock:
            current = self._by_study.get(study_id)
            if current is None or current.revision < snapshot.revision:
                self._drop(study_id)
                self._by_study[study_id] = snapshot
                self._n_bytes += snapshot.n_bytes
            while self._n_bytes > MAX_BYTES and len(self._by_study) > 1:
                self._drop(next(iter(self._by_study)))

    def forget(self, study_id: int) -> None:
        """Drop the snapshot of a study."""
        with self._lock:
            self._drop(study_id)

    def _drop(self, study_id: int) -> None:
        dropped = self._by_study.pop(study_id, None)
        if dropped is not None:
            self._n_bytes -= dropped.n_bytes
