"""Whether the best trial lies at an edge of the search space that could be moved."""

import math

from service.search.edits import cut, lower_low, raise_high, set_choices, shown, together
from service.search.finding import Finding, Gain, Remedy, some
from service.search.lint.lint_rate import WIDEST
from service.search.space.space_size import SEARCH_FIRST
from spezia.contract.facts import Facts
from spezia.contract.hyperparameters import HYPERPARAMETERS, ParamValue
from spezia.contract.ranges import Choices, FloatRange, IntRange
from spezia.contract.space import Dimension, active_dimension
from spezia.contract.study_spec import Params, StudySpec
from spezia.contract.wire import MAX_EXACT

_NEAR = 0.02
"""Share of a range that counts as its edge, logarithmic where the range is."""
_FACTOR = 3.0
"""Factor by which a logarithmic range is widened."""
_MORE = "something better may lie beyond"


def edges(spec: StudySpec, params: Params, facts: Facts | None) -> list[Finding]:
    """Return a finding for each of a winner's params that lies at an edge that could be moved, with where to.

    A natural end, such as dropout 0 or all blocks frozen, is no such edge. Whether more epochs would help is not said
    here but by `explain`, which sees the learning curve.

    Args:
        params: Params of the winner, fixed ones included.
    """
    found = []
    for name, value in sorted(params.items(), key=_importance):
        dimension = active_dimension(spec.search_space, name, params)
        if dimension is None or isinstance(value, bool | str) or (name == "epochs" and spec.task != "script"):
            continue
        finding = (
            _choice(dimension, value, facts)
            if isinstance(dimension.distribution, Choices)
            else _range(dimension, dimension.distribution, value, facts)
        )
        found += [finding] if finding and finding.remedies else []
    return found


def widen(dimension: Dimension, facts: Facts | None) -> Remedy | None:
    """Return the remedy that moves the upper edge of a range up, as far as there is something beyond it."""
    within = dimension.distribution
    if isinstance(within, Choices):
        return None
    highest, is_open = _upper_end(dimension.name, within, facts)
    if within.high >= highest:
        return None
    moved = within.high * _FACTOR if within.log else within.high + (within.high - within.low)
    if moved > highest or (is_open and moved == highest):
        # an end that is excluded itself, such as dropout 1, is only approached
        moved = (within.high + highest) / 2 if is_open else highest
    return raise_high(dimension, _rounded(moved, within.high))


def _lower(dimension: Dimension) -> Remedy | None:
    within = dimension.distribution
    assert not isinstance(within, Choices)
    lowest, is_zero_in = _lower_end(dimension.name, within)
    if within.low <= lowest:
        return None
    moved = within.low / _FACTOR if within.log else within.low - (within.high - within.low)
    if moved < lowest or (moved == lowest and not is_zero_in):
        # the least rate that the trainer can carry out is no rate to search from
        moved = lowest if is_zero_in else within.low / _FACTOR
    return lower_low(dimension, _rounded(moved, within.low))


def _range(dimension: Dimension, within: FloatRange | IntRange, value: float, facts: Facts | None) -> Finding | None:
    if within.low == within.high:
        return None
    position = _position(within, value)
    if position >= 1 - _NEAR:
        which, edge, remedy = "upper", within.high, widen(dimension, facts)
    elif position <= _NEAR:
        which, edge, remedy = "lower", within.low, _lower(dimension)
    else:
        return None
    remedy = remedy and _not_too_wide(dimension, remedy)
    best = f"the best {dimension.name}, {_short(value)}, lies at the {which} edge of its range ({shown(edge)})"
    return Finding(message=f"{best}: {_MORE}", gain=Gain.VALUE, remedies=some(remedy))


def _not_too_wide(dimension: Dimension, remedy: Remedy) -> Remedy | None:
    """Let the range of a rate lose at its other edge what it gains, where a search could not make use of the whole."""
    within = dimension.distribution
    if dimension.name != "learning_rate" or not isinstance(within, FloatRange) or not within.log:
        return remedy
    (change,) = remedy.changes
    moved = change.value
    assert isinstance(moved, float)
    low, high = min(within.low, moved), max(within.high, moved)
    if high <= WIDEST * low:
        return remedy
    return together(remedy, cut(dimension, _two_digits(moved / WIDEST), _two_digits(moved * WIDEST)))


def _choice(dimension: Dimension, value: float, facts: Facts | None) -> Finding | None:
    assert isinstance(dimension.distribution, Choices)
    choices = dimension.distribution.choices
    numbers = [one for one in choices if isinstance(one, int | float)]
    if len(numbers) < 3 or min(numbers) < value < max(numbers) or value <= 0:
        return None
    is_largest = value == max(numbers)
    more = 2 * value if is_largest else value / 2
    more = int(more) if isinstance(value, int) else more
    if more in (0, *numbers) or more > MAX_EXACT or not _is_possible(dimension.name, more, facts):
        return None
    words = f"add {shown(more)} to {'.'.join(map(str, dimension.path))}.choices"
    remedy = set_choices(dimension, [*choices, more] if is_largest else [more, *choices], words)
    which = "largest" if is_largest else "smallest"
    best = f"the best {dimension.name}, {shown(value)}, is the {which} that was allowed"
    return Finding(message=f"{best}: {_MORE}", gain=Gain.VALUE, remedies=(remedy,))


def _importance(param: tuple[str, ParamValue]) -> int:
    name, _ = param
    return SEARCH_FIRST.index(name) if name in SEARCH_FIRST else len(SEARCH_FIRST)


def _upper_end(name: str, within: FloatRange | IntRange, facts: Facts | None) -> tuple[float, bool]:
    """Return the value above which there is nothing, and whether that value itself is excluded."""
    if name not in HYPERPARAMETERS:
        # a share of something ends at 1
        return (1.0 if isinstance(within, FloatRange) and within.high <= 1 else MAX_EXACT), False
    known = HYPERPARAMETERS[name]
    return min(known.high, _most(name, facts)), known.high_is_open


def _lower_end(name: str, within: FloatRange | IntRange) -> tuple[float, bool]:
    """Return the value below which there is nothing, and whether that value may be used itself."""
    if name in HYPERPARAMETERS:
        known = HYPERPARAMETERS[name]
        return known.low, not known.low_is_open and (known.type == "int" or known.low == 0)
    if within.low < 0:
        return -MAX_EXACT, True
    return float(isinstance(within, IntRange) and within.low > 0), True


def _is_possible(name: str, value: ParamValue, facts: Facts | None) -> bool:
    known = HYPERPARAMETERS.get(name)
    return known is None or (known.problem(value) is None and float(value) <= _most(name, facts))


def _most(name: str, facts: Facts | None) -> float:
    """Return the largest value of a hyperparameter that model and data have room for."""
    if name == "frozen_layers":
        return 0 if facts is None or facts.blocks is None else facts.blocks
    if name == "batch_size" and facts is not None:
        return facts.train_rows
    return math.inf


def _position(within: FloatRange | IntRange, value: float) -> float:
    """Return where in its range a value lies: 0 at ``low``, 1 at ``high``."""
    low, high = float(within.low), float(within.high)
    if within.log:
        low, high, value = math.log(low), math.log(high), math.log(value)
    return (value - low) / (high - low)


def _rounded(moved: float, edge: float) -> float:
    """Return ``moved`` in the fewest digits, two or more, that keep its distance to ``edge`` to a tenth."""
    for digits in range(2, 17):
        rounded = float(f"{moved:.{digits}g}")
        if abs(rounded - moved) <= 0.1 * abs(moved - edge):
            return rounded
    return moved


def _two_digits(value: float) -> float:
    return float(f"{value:.2g}")


def _short(value: float) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
