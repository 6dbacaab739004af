"""What the first trials of a study come to, kept so that no transaction goes through all of them."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Protocol, Self, TypeVar

from optuna.trial import FrozenTrial, TrialState


class Summary(Protocol):
    """What some trials come to; immutable. Without arguments it is that of no trial."""

    def __init__(self) -> None: ...

    def extended(self, trials: Sequence[FrozenTrial]) -> Self:
        """Return what these trials and ``trials`` come to."""
        ...


S = TypeVar("S", bound=Summary)


class Summaries:
    """Summaries of the first trials of a study, all of which have finished: one object for all snapshots of the study.

    Shared by threads: a summary is replaced and never changed, together with the number of trials that it is of.
    """

    def __init__(self) -> None:
        self._kept: dict[type[Any], tuple[int, Any]] = {}

    def of(self, kind: type[S], trials: Sequence[FrozenTrial], prefix_length: int) -> S:
        """Return the summary of the first ``prefix_length`` of ``trials``; only those that are new are gone through."""
        n_known, known = self._kept.get(kind, (0, kind()))
        if n_known > prefix_length:  # a newer snapshot has been asked before
            return kind().extended(trials[:prefix_length])
        if n_known < prefix_length:
            known = known.extended(trials[n_known:prefix_length])
            self._kept[kind] = prefix_length, known
        summary: S = known
        return summary


class StateCounts:
    """How many trials are in each state."""

    def __init__(self, by_state: Counter[TrialState] | None = None) -> None:
        self.by_state = by_state or Counter()

    def extended(self, trials: Sequence[FrozenTrial]) -> "StateCounts":
        """Return the counts of these trials and ``trials``."""
        return StateCounts(self.by_state + Counter(trial.state for trial in trials))
