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
_LARGEST = 2.0**53
"""Magnitude beyond which no edge is moved."""


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
    lowest, highest = _natural_ends(dimension.name, within, facts)
    if position <= _NEAR and within.low > lowest:
        return _widen(dimension, value, "low", "lower", within.low, _beyond(within, upwards=False, limit=lowest))
    if position >= 1 - _NEAR and within.high < highest:
        return _widen(dimension, value, "high", "upper", within.high, _beyond(within, upwards=True, limit=highest))
    return None


def _natural_ends(name: str, within: FloatRange | IntRange, facts: Facts | None) -> tuple[float, float]:
    """The values beyond which there is nothing; of a param of unknown name they are 0 and 1, as far as they apply."""
    if name in HYPERPARAMETERS:
        known = HYPERPARAMETERS[name]
        blocks = facts.blocks if name == "frozen_layers" and facts else None
        return known.low, known.high if blocks is None else blocks
    is_whole = isinstance(within, IntRange)
    lowest = float(is_whole and within.low > 0) if within.low >= 0 else -_LARGEST
    return lowest, _LARGEST if is_whole or within.high > 1 else 1.0


def _choice(dimension: Dimension, value: float) -> str | None:
    assert isinstance(dimension.distribution, Choices)
    numbers = [one for one in dimension.distribution.choices if isinstance(one, int | float)]
    if len(numbers) < 3 or min(numbers) < value < max(numbers):
        return None
    known = HYPERPARAMETERS.get(dimension.name)
    more = 2 * value if value == max(numbers) else value / 2
    more = int(more) if isinstance(value, int) else more
    if value <= 0 or more in (0, *numbers) or (known is not None and known.problem(more)):
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


def _beyond(within: FloatRange | IntRange, *, upwards: bool, limit: float) -> float:
    span = float(within.high - within.low)
    if upwards:
        moved = within.high * _FACTOR if within.log else within.high + span
    else:
        moved = within.low / _FACTOR if within.log else within.low - span
    moved = min(moved, limit) if upwards else max(moved, limit)
    return float(round(moved)) if isinstance(within, IntRange) else moved


def _widen(dimension: Dimension, value: float, field: str, which: str, edge: float, to: float) -> str:
    path = ".".join(map(str, dimension.path))
    return (
        f"the best {dimension.name}, {value:.3g}, lies at the {which} edge of its range ({edge:g}): "
        f"something better may lie beyond; set {path}.{field} to {to:.2g}"
    )
