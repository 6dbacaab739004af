"""A grid, visited in an order that the study's seed decides, every point once.

Optuna's `GridSampler` is not used: it lists the whole product in memory, repeats what the baseline and
enqueued trials have tried, and ends a grid by stopping the study from inside `tell`. The contract refuses a
grid over ranges with conditions, so each parameter has one range and every trial has it.
"""

import math
import random
from collections.abc import Iterator, Sequence
from decimal import Decimal

from optuna.trial import FrozenTrial

from service.optuna_private import FIXED_PARAMS
from service.search.space.allowed import n_values
from spezia.contract.hyperparameters import ParamValue
from spezia.contract.ranges import Choices, Distribution, IntRange
from spezia.contract.space import dimensions
from spezia.contract.study_spec import Params, StudySpec

Space = dict[str, Distribution]
"""The range of each parameter of a grid by its name."""
Point = tuple[int, ...]
"""The index of the value of each parameter of a grid, in the order of its space."""


def next_grid_point(spec: StudySpec, trials: Sequence[FrozenTrial], fixed: Params) -> Params | None:
    """Return the first point of a grid that agrees with ``fixed`` and that no trial has, whatever its state.

    Without ``fixed``, ``None`` says that the grid is exhausted. An enqueued trial always gets a point.
    """
    space = _space(spec)
    free = {name: distribution for name, distribution in space.items() if name not in fixed}
    taken = {_key(space, _known_params(trial)) for trial in trials}
    for point in _points(free, spec.seed):
        params = fixed | _params(free, point)
        if _key(space, params) not in taken:
            return params
    if not fixed:
        return None
    return fixed | _params(free, next(_points(free, spec.seed)))


def _space(spec: StudySpec) -> Space:
    return {dimension.name: dimension.distribution for dimension in dimensions(spec.search_space)}


def _points(space: Space, seed: int) -> Iterator[Point]:
    sizes = [_axis_size(distribution) for distribution in space.values()]
    for index in _visiting_order(math.prod(sizes), seed):
        point = []
        for size in reversed(sizes):
            index, digit = divmod(index, size)
            point.append(digit)
        yield tuple(reversed(point))


def _visiting_order(size: int, seed: int) -> Iterator[int]:
    """Yield 0 to ``size - 1`` in random order; what it takes in time and memory depends on how many are asked for."""
    rng = random.Random(seed)
    # Fisher-Yates on a list that is only written where it differs from 0, 1, 2, …
    moved: dict[int, int] = {}
    for place in range(size):
        drawn = rng.randrange(place, size)
        yield moved.pop(drawn, drawn)
        if drawn != place:
            moved[drawn] = moved.pop(place, place)


def _params(space: Space, point: Point) -> Params:
    return {
        name: _axis_value(distribution, index) for (name, distribution), index in zip(space.items(), point, strict=True)
    }


def _known_params(trial: FrozenTrial) -> Params:
    fixed: Params = trial.system_attrs.get(FIXED_PARAMS, {})
    return fixed | trial.params


def _key(space: Space, params: Params) -> Point | None:
    if space.keys() != params.keys():
        return None
    return tuple(_axis_index(distribution, params[name]) for name, distribution in space.items())


def _axis_size(distribution: Distribution) -> int:
    n = n_values(distribution)
    assert n is not None, distribution  # the contract asks for a step
    return n


def _axis_value(distribution: Distribution, index: int) -> ParamValue:
    if isinstance(distribution, Choices):
        return distribution.choices[index]
    if isinstance(distribution, IntRange):
        return distribution.low + index * distribution.step
    if index == 0:
        return distribution.low
    # in decimals, so that three steps of 0.1 are 0.3
    value = float(Decimal(str(distribution.low)) + index * Decimal(str(distribution.step)))
    return min(value, distribution.high)


def _axis_index(distribution: Distribution, value: ParamValue) -> int:
    if isinstance(distribution, Choices):
        return distribution.choices.index(value)
    assert isinstance(value, int | float), value
    if distribution.low == distribution.high:
        return 0
    assert distribution.step is not None, distribution
    return round((value - distribution.low) / distribution.step)
