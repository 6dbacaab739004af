"""What COMPLETE trials came to at each step, sorted, so that a pruner need not look at all of them."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from optuna.trial import FrozenTrial, TrialState

from spezia.contract.space import plain_name

Values = NDArray[np.float64]
"""Ascending; NaN, which no trial of ours reports, comes last."""


class Curves:
    """Of any number of trials, finished or not. Immutable: a transaction may be rolled back, another one run beside it.

    Args:
        n_trials: That these were made of.
        n_complete: Of them.
        by_step: Values by step and then by the epochs that their trials were to run.
    """

    def __init__(
        self,
        n_trials: int = 0,
        n_complete: int = 0,
        by_step: Mapping[int, Mapping[float | None, Values]] | None = None,
    ) -> None:
        self.n_trials = n_trials
        self.n_complete = n_complete
        self._by_step = by_step or {}

    def extended(self, trials: Sequence[FrozenTrial]) -> "Curves":
        """Those of these trials and ``trials``."""
        complete = [trial for trial in trials if trial.state is TrialState.COMPLETE]
        new: defaultdict[tuple[int, float | None], list[float]] = defaultdict(list)
        for trial in complete:
            epochs = epochs_of(trial)
            for step, value in trial.intermediate_values.items():
                new[step, epochs].append(value)
        by_step = dict(self._by_step)
        for (step, epochs), values in new.items():
            before = by_step.get(step, {})
            both = np.concatenate((before.get(epochs, ()), values))
            # stable is fast on what is nearly sorted
            by_step[step] = {**before, epochs: np.sort(both, kind="stable")}
        return Curves(self.n_trials + len(trials), self.n_complete + len(complete), by_step)

    def at(self, step: int, epochs: float | None) -> Iterator[Values]:
        """The values at a step, in several arrays, of trials that `is_comparable` with one of so many epochs."""
        for theirs, values in self._by_step.get(step, {}).items():
            if is_comparable(epochs, theirs):
                yield values


def epochs_of(trial: FrozenTrial) -> float | None:
    """Return the epochs that a trial is to run; ``None`` if not searched, or if a script calls something else so."""
    found = trial.params.get("epochs")
    if found is None:
        found = next((value for key, value in trial.params.items() if plain_name(key) == "epochs"), None)
    return found if isinstance(found, int | float) else None


def is_comparable(epochs: float | None, theirs: float | None) -> bool:
    """A rate that decays over fewer epochs looks better early, so shorter schedules do not count."""
    return epochs is None or theirs is None or theirs >= epochs
