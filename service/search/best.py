"""Which trial leads a study."""

import math
from collections.abc import Iterable

from optuna.trial import FrozenTrial, TrialState

from service.contract.tasks import Direction


def ranked(trials: Iterable[FrozenTrial], direction: Direction) -> list[FrozenTrial]:
    """Return the COMPLETE trials of finite value, best first; ties go to the lower number."""
    sign = 1 if direction == "minimize" else -1
    finished = [(_finite_value(trial), trial) for trial in trials if trial.state == TrialState.COMPLETE]
    by_value = [(sign * value, trial.number, trial) for value, trial in finished if value is not None]
    return [trial for _, _, trial in sorted(by_value, key=lambda entry: entry[:2])]


def best_trial(trials: Iterable[FrozenTrial], direction: Direction) -> FrozenTrial | None:
    """Return the leader, or ``None`` while no trial has a finite value."""
    return next(iter(ranked(trials, direction)), None)


def rank_if_complete(trial: FrozenTrial, others: Iterable[FrozenTrial], direction: Direction) -> int:
    """Return the place that a running trial would have if it ended now, by its best report; 0 leads."""
    sign = 1 if direction == "minimize" else -1
    own = min(sign * value for value in trial.intermediate_values.values()), trial.number
    ahead = ranked(others, direction)
    return sum((sign * other.value, other.number) < own for other in ahead if other.value is not None)


def _finite_value(trial: FrozenTrial) -> float | None:
    return trial.value if trial.value is not None and math.isfinite(trial.value) else None
