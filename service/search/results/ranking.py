"""The ranking of a study: which of its trials lead."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice

import numpy as np
from optuna.trial import FrozenTrial, TrialState

from service.search.results.pareto import pareto_front
from spezia.contract.study_spec import StudySpec


def ranked(trials: Iterable[FrozenTrial], spec: StudySpec) -> list[FrozenTrial]:
    """Return the COMPLETE trials of finite values that meet the constraints, best first; ties go to the lower number.

    Of several objectives only the Pareto front counts, the best by the first objective first.
    """
    return list(_in_order(trials, spec))


def leaders(trials: Iterable[FrozenTrial], spec: StudySpec) -> list[FrozenTrial]:
    """Return the best trial alone; of several objectives the Pareto front, as `ranked`."""
    return list(_in_order(trials, spec) if len(spec.objectives) > 1 else islice(_in_order(trials, spec), 1))


def best_trial(trials: Iterable[FrozenTrial], spec: StudySpec) -> FrozenTrial | None:
    """Return the first of `leaders`, or ``None`` while no trial may be one."""
    return next(_in_order(trials, spec), None)


def rank_if_complete(
    number: int, values: Sequence[float], others: Iterable[FrozenTrial], spec: StudySpec
) -> int | None:
    """Return the place among `ranked` that a trial would have if it ended now, from 0; ``None``: it would have no
    place.

    Args:
        values: Values of its objectives; it meets the constraints.
    """
    able = [trial for trial in others if trial.number != number and _is_finite(trial) and _is_feasible(trial, spec)]
    if len(spec.objectives) == 1:
        sign = spec.objectives[0].sign
        own = sign * values[0], number
        return sum((sign * trial.values[0], trial.number) < own for trial in able)
    numbers = [trial.number for trial in able] + [number]
    front = [numbers[row] for row in _front_rows([*(trial.values for trial in able), values], numbers, spec)]
    return front.index(number) if number in front else None


def first_value(trial: FrozenTrial) -> float | None:
    """Return the value of the first objective, ``None`` where it has none or one that is no number.

    ``FrozenTrial.value`` raises where there are several.
    """
    return trial.values[0] if trial.values and math.isfinite(trial.values[0]) else None


def named_values(trial: FrozenTrial, spec: StudySpec) -> dict[str, float]:
    """Return the values of a COMPLETE trial by metric, but for those that are no numbers; of any other trial none."""
    if trial.state != TrialState.COMPLETE:
        return {}
    by_metric = zip(spec.objectives, trial.values, strict=True)
    return {objective.metric: value for objective, value in by_metric if math.isfinite(value)}


def violations(trial: FrozenTrial) -> dict[str, float]:
    """Return by how much a trial exceeds each constraint that it does not meet, by the name of the constraint."""
    return {name: excess for name, excess in trial.constraints.items() if excess > 0}


def nearest_miss(trials: Iterable[FrozenTrial]) -> tuple[int, Mapping[str, float]] | None:
    """Return the number of the COMPLETE trial that exceeds the constraints by the least in sum, and its `violations`.

    Optuna's samplers rank such trials in the same way. ``None``: every COMPLETE trial meets them.
    """
    missed = [(trial.number, violations(trial)) for trial in trials if trial.state == TrialState.COMPLETE]
    return min(
        ((number, misses) for number, misses in missed if misses), key=lambda one: sum(one[1].values()), default=None
    )


def _in_order(trials: Iterable[FrozenTrial], spec: StudySpec) -> Iterator[FrozenTrial]:
    finite = [trial for trial in trials if _is_finite(trial)]
    if len(spec.objectives) == 1:
        sign = spec.objectives[0].sign
        places = sorted((sign * trial.values[0], trial.number, row) for row, trial in enumerate(finite))
        # whether a trial is feasible is only asked of those that it matters for: who wants the best wants one
        yield from (trial for trial in (finite[row] for _, _, row in places) if _is_feasible(trial, spec))
    else:
        able = [trial for trial in finite if _is_feasible(trial, spec)]
        rows = _front_rows([trial.values for trial in able], [trial.number for trial in able], spec)
        yield from (able[row] for row in rows)


def _is_finite(trial: FrozenTrial) -> bool:
    return trial.state == TrialState.COMPLETE and all(map(math.isfinite, trial.values))


def _is_feasible(trial: FrozenTrial, spec: StudySpec) -> bool:
    return not spec.constraints or not violations(trial)


def _front_rows(values: Sequence[Sequence[float]], numbers: Sequence[int], spec: StudySpec) -> list[int]:
    if not values:
        return []
    signs = np.array([objective.sign for objective in spec.objectives])
    return pareto_front(np.array(values) * signs, np.array(numbers))
