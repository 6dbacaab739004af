"""What is told of a study's settled trials, kept so that no transaction walks over all of them."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Protocol, Self, TypeVar

from optuna.trial import FrozenTrial, TrialState


class Summary(Protocol):
    """What trials come to, of any number of them. Immutable; without arguments it is that of no trial."""

    def __init__(self) -> None: ...

    def extended(self, trials: Sequence[FrozenTrial]) -> Self:
        """What these trials and ``trials`` come to."""
        ...


S = TypeVar("S", bound=Summary)


class Summaries:
    """Of the first trials of a study, all of which have finished: one object for all pictures of the study.

    Shared by threads: what is kept is replaced and never changed, with the number of trials that it is of.
    """

    def __init__(self) -> None:
        self._kept: dict[type[Any], tuple[int, Any]] = {}

    def of(self, kind: type[S], trials: Sequence[FrozenTrial], n_settled: int) -> S:
        """Return the summary of the first ``n_settled`` of ``trials``; it is made of those that are new."""
        n_known, known = self._kept.get(kind, (0, kind()))
        if n_known > n_settled:  # a newer picture has been asked before
            return kind().extended(trials[:n_settled])
        if n_known < n_settled:
            known = known.extended(trials[n_known:n_settled])
            self._kept[kind] = n_settled, known
        summary: S = known
        return summary


class StateCounts:
    """How many trials are in each state."""

    def __init__(self, by_state: Counter[TrialState] | None = None) -> None:
        self.by_state = by_state or Counter()

    def extended(self, trials: Sequence[FrozenTrial]) -> "StateCounts":
        return StateCounts(self.by_state + Counter(trial.state for trial in trials))
