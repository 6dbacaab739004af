"""The values of COMPLETE trials at each step, sorted, so that a pruner need not look at all of them."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from optuna.trial import FrozenTrial, TrialState

from service.search.pruning.comparable import Schedule, is_comparable, schedule_of

Values = NDArray[np.float64]
"""Values in ascending order; NaN, which no trial of ours reports, comes last."""


class Curves:
    """The values of the COMPLETE ones among some trials, by step.

    They are immutable: a transaction may be rolled back, or another one run beside it.

    Args:
        n_complete: Number of these trials.
        by_step: Values by step and then by the schedule of their trials.
    """

    def __init__(
        self,
        n_complete: int = 0,
        by_step: Mapping[int, Mapping[Schedule, Values]] | None = None,
    ) -> None:
        self.n_complete = n_complete
        self._by_step = by_step or {}

    def extended(self, trials: Sequence[FrozenTrial]) -> "Curves":
        """Return the values of these trials and ``trials``."""
        complete = [trial for trial in trials if trial.state is TrialState.COMPLETE]
        new: defaultdict[tuple[int, Schedule], list[float]] = defaultdict(list)
        for trial in complete:
            schedule = schedule_of(trial)
            for step, value in trial.intermediate_values.items():
                new[step, schedule].append(value)
        by_step = dict(self._by_step)
        for (step, schedule), values in new.items():
            before = by_step.get(step, {})
            both = np.concatenate((before.get(schedule, ()), values))
            # stable is fast on what is nearly sorted
            by_step[step] = {**before, schedule: np.sort(both, kind="stable")}
        return Curves(self.n_complete + len(complete), by_step)

    def at(self, step: int, schedule: Schedule) -> Iterator[Values]:
        """Yield the values at a step, in several arrays, of all trials that one of this schedule is compared with."""
        for other, values in self._by_step.get(step, {}).items():
            if is_comparable(schedule, other):
                yield values
