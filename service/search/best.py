"""Which trial leads a study."""

import math
from collections.abc import Iterable

from optuna.trial import FrozenTrial, TrialState

from service.contract.study import Direction


def ranked(trials: Iterable[FrozenTrial], direction: Direction) -> list[FrozenTrial]:
    """Return the COMPLETE trials of finite value, best first; ties go to the lower number."""
    sign = 1 if direction == "minimize" else -1
    finished = [(_finite_value(trial), trial) for trial in trials if trial.state == TrialState.COMPLETE]
    by_value = [(sign * value, trial.number, trial) for value, trial in finished if value is not None]
    return [trial for _, _, trial in sorted(by_value, key=lambda entry: entry[:2])]


def best_trial(trials: Iterable[FrozenTrial], direction: Direction) -> FrozenTrial | None:
    """Return the leader, or ``None`` while no trial has a finite value."""
    return next(iter(ranked(trials, direction)), None)


def _finite_value(trial: FrozenTrial) -> float | None:
    return trial.value if trial.value is not None and math.isfinite(trial.value) else None
