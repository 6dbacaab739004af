"""Finished trials never change, so one process reads each of them once.

Filled only after commit: a rolled-back tell would poison it. SQLite may give a deleted study's id to a new
study where stock Optuna made the tables, so deleting a study forgets it.
"""

from collections.abc import Mapping
from threading import Lock
from types import MappingProxyType

from optuna.trial import FrozenTrial

_NONE: Mapping[int, FrozenTrial] = MappingProxyType({})


class FinishedTrials:
    """Shared by threads; the trials in it must not be changed."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._by_study: dict[int, dict[int, FrozenTrial]] = {}

    def of(self, study_id: int) -> dict[int, FrozenTrial]:
        """Finished trials of one study by trial id, as of now."""
        with self._lock:
            return dict(self._by_study.get(study_id, _NONE))

    def publish(self, study_id: int, trials: Mapping[int, FrozenTrial]) -> None:
        """Add trials whose end is committed."""
        if trials:
            with self._lock:
                self._by_study.setdefault(study_id, {}).update(trials)

    def forget(self, study_id: int) -> None:
        with self._lock:
            self._by_study.pop(study_id, None)
