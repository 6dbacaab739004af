"""The values of a study's trials at its rungs, which are the rows that the process learns from."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from optuna.trial import FrozenTrial, TrialState

from service.rung_marks import reported_values_of
from service.search.pruning.pruners import longest_schedule
from service.search.pruning.rungs import FIRST_SHARE, rung_steps
from service.search.space.allowed import largest
from spezia.contract.pruners import RungsPruner
from spezia.contract.study_spec import StudySpec

ETA = 4
"""Factor from one rung to the next under a pruner that has none."""


@dataclass(frozen=True)
class Row:
    """The value of a trial at a rung."""

    number: int
    """Number of the trial."""
    rung: int
    """Rung, from 0; the last one is the end of a trial."""
    value: float
    """Value there, of which lower is better."""


def rows_of(spec: StudySpec, trials: Sequence[FrozenTrial]) -> list[Row]:
    """Return the values of all trials at their rungs, in the order of the trials.

    What they have read there of a part of the validation rows is among them: at a rung all have read as many.
    """
    sign = spec.objectives[0].sign
    reported = [reported_values_of(trial) for trial in trials]
    steps = row_steps(spec, max((step for values in reported for step in values), default=1))
    rows = []
    for trial, values in zip(trials, reported, strict=True):
        reached = [(rung, values.get(step)) for rung, step in enumerate(steps)]
        if trial.state is TrialState.COMPLETE and trial.values:
            reached.append((len(steps), trial.values[0]))
        rows += [
            Row(trial.number, rung, sign * value)
            for rung, value in reached
            if value is not None and math.isfinite(value)
        ]
    return rows


def row_steps(spec: StudySpec, last_seen: int) -> list[int]:
    """Return the steps of all rungs but the end of a trial: those of the pruner, else as many as it would have.

    Args:
        last_seen: Largest step that any trial has reached, which is all that is known of the steps of a script.
    """
    if isinstance(spec.pruner, RungsPruner):
        return rung_steps(spec, {"epochs": largest(spec, "epochs")})
    last = last_seen if spec.task == "script" else longest_schedule(spec)
    steps = [math.ceil(FIRST_SHARE * last)]
    while steps[-1] * ETA < last:
        steps.append(steps[-1] * ETA)
    return steps
