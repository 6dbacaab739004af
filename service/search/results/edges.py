"""Whether the best trial lies at an edge of the search space that could be moved."""

import math

from spezia.contract.facts import Facts
from spezia.contract.hyperparameters import HYPERPARAMETERS
from spezia.contract.ranges import Choices, FloatRange, IntRange
from spezia.contract.space import Dimension, active_dimension
from spezia.contract.study_spec import Params, StudySpec

_NEAR = 0.02
"""Share of a range that counts as its edge, logarithmic where the range is."""
_FACTOR = 3.0
"""Factor by which a logarithmic range is widened."""


def edges(spec: StudySpec, params: Params, facts: Facts | None) -> list[str]:
    """Return a sentence for each of a winner's params that lies at an edge that could be moved, and where to.

    A natural end, such as dropout 0 or all blocks frozen, is no such edge.

    Args:
        params: Params of the winner, fixed ones included.
        facts: Facts of the study; the number of blocks ends the range of ``frozen_layers``.
    """
    found = []
    for name, value in params.items():
        dimension = active_dimension(spec.search_space, name, params)
        if dimension is None or isinstance(value, bool | str):
            continue
        sentence = (
            _choice(dimension, value)
            if isinstance(dimension.distribution, Choices)
            else _range(dimension, dimension.distribution, value, facts)
        )
        if sentence:
            found.append(sentence)
    return found


def _range(dimension: Dimension, within: FloatRange | IntRange, value: float, facts: Facts | None) -> str | None:
    if within.low == within.high:
        return None
    position = _position(within, value)
    known = HYPERPARAMETERS[dimension.name]
    last = facts.blocks if dimension.name == "frozen_layers" and facts else None
    limits = (known.low, known.high if last is None else last)
    if position <= _NEAR and (limits[0] is None or within.low > limits[0]):
        return _widen(dimension, value, "low", "lower", within.low, _beyond(within, upwards=False, limit=limits[0]))
    if position >= 1 - _NEAR and (limits[1] is None or within.high < limits[1]):
        return _widen(dimension, value, "high", "upper", within.high, _beyond(within, upwards=True, limit=limits[1]))
    return None


def _choice(dimension: Dimension, value: float) -> str | None:
    assert isinstance(dimension.distribution, Choices)
    numbers = [one for one in dimension.distribution.choices if isinstance(one, int | float)]
    if len(numbers) < 3 or min(numbers) < value < max(numbers):
        return None
    known = HYPERPARAMETERS[dimension.name]
    more = 2 * value if value == max(numbers) else value / 2
    more = int(more) if isinstance(value, int) else more
    if more in numbers or known.problem(more):
        return None
    where = "largest" if value > min(numbers) else "smallest"
    path = ".".join(map(str, dimension.path))
    return f"the best {dimension.name}, {value:g}, is the {where} that was allowed; add {more:g} to {path}.choices"


def _position(within: FloatRange | IntRange, value: float) -> float:
    """0 at ``low``, 1 at ``high``."""
    low, high = float(within.low), float(within.high)
    if within.log:
        low, high, value = math.log(low), math.log(high), math.log(value)
    return (value - low) / (high - low)


def _beyond(within: FloatRange | IntRange, *, upwards: bool, limit: float | None) -> float:
    span = float(within.high - within.low)
    if upwards:
        moved = within.high * _FACTOR if within.log else within.high + span
    else:
        moved = within.low / _FACTOR if within.log else within.low - span
    if limit is not None:
        moved = min(moved, limit) if upwards else max(moved, limit)
    return float(round(moved)) if isinstance(within, IntRange) else moved


def _widen(dimension: Dimension, value: float, field: str, which: str, edge: float, to: float) -> str:
    path = ".".join(map(str, dimension.path))
    return (
        f"the best {dimension.name}, {value:.3g}, lies at the {which} edge of its range ({edge:g}): "
        f"something better may lie beyond; set {path}.{field} to {to:.2g}"
    )
