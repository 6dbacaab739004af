"""Every change of a spec that is advised is made here, so that it says in words exactly what it does.

What would change nothing, or would go the wrong way, is ``None``. Whether the service accepts the changed spec is for
`service.lifecycle.studies.advise` to check.
"""

import json
import math
from decimal import Decimal
from operator import attrgetter
from typing import Any, Literal

from service.search.finding import Remedy
from service.search.space.space_size import has_room
from spezia.contract.advice import Change
from spezia.contract.hyperparameters import HYPERPARAMETERS, ParamValue
from spezia.contract.ranges import Choices, Distribution, FloatRange, IntRange
from spezia.contract.space import Dimension
from spezia.contract.study_spec import StudySpec

Edge = Literal["low", "high"]


def set_field(field: str, value: Any, words: str = "") -> Remedy:
    """Return the remedy that sets a field; ``words`` say so otherwise than ``set FIELD to VALUE``."""
    return Remedy(words=words or f"set {field} to {shown(value)}", changes=(Change(field=field, value=value),))


def raise_field(spec: StudySpec, field: str, to: int, words: str = "") -> Remedy | None:
    """Return the remedy that sets a number of the spec to a larger one."""
    return set_field(field, to, words or f"raise {field} to {to}") if to > attrgetter(field)(spec) else None


def lower_field(spec: StudySpec, field: str, to: int, words: str = "") -> Remedy | None:
    """Return the remedy that sets a number of the spec to a smaller one."""
    return set_field(field, to, words or f"lower {field} to {to}") if to < attrgetter(field)(spec) else None


def raise_high(dimension: Dimension, to: float) -> Remedy | None:
    """Return the remedy that moves the upper edge of a range up."""
    edge = _on_a_step(dimension.distribution, to)
    return _move(dimension, "high", edge) if edge > _range(dimension).high else None


def lower_high(dimension: Dimension, to: float) -> Remedy | None:
    """Return the remedy that moves the upper edge of a range down; more than one value must be left."""
    edge, within = _on_a_step(dimension.distribution, to), _range(dimension)
    return _move(dimension, "high", edge) if within.low < edge < within.high else None


def lower_low(dimension: Dimension, to: float) -> Remedy | None:
    """Return the remedy that moves the lower edge of a range down."""
    edge = _on_a_step(dimension.distribution, to)
    return _move(dimension, "low", edge) if edge < _range(dimension).low else None


def cut(dimension: Dimension, bottom: float, top: float, words: str = "") -> Remedy | None:
    """Return the remedy that keeps of a range what lies between two values; more than one value must be left."""
    within = _range(dimension)
    low, high = max(within.low, bottom), min(within.high, top)
    if low >= high:
        return None
    return together(
        _move(dimension, "low", low) if low > within.low else None,
        _move(dimension, "high", high) if high < within.high else None,
        words=words,
    )


def set_log(dimension: Dimension, words: str) -> Remedy:
    """Return the remedy that draws from a range on a logarithmic scale, which takes no step."""
    path = _path(dimension)
    is_stepped = isinstance(dimension.distribution, FloatRange) and dimension.distribution.step is not None
    without_step = (Change(field=f"{path}.step", value=None),) if is_stepped else ()
    return Remedy(words=words, changes=(Change(field=f"{path}.log", value=True), *without_step))


def set_choices(dimension: Dimension, choices: list[ParamValue], words: str) -> Remedy:
    """Return the remedy that sets the choices of a categorical range."""
    return set_field(f"{_path(dimension)}.choices", list(choices), words)


def fix(spec: StudySpec, name: str, value: ParamValue, words: str = "") -> Remedy | None:
    """Return the remedy that searches a parameter no more; ``None`` also where only some trials have it."""
    entry = spec.search_space.get(name)
    if entry is None or isinstance(entry, list) or entry.when:
        return None
    changes = (Change(field=f"search_space.{name}", value=None), Change(field=f"fixed.{name}", value=value))
    return Remedy(words=words or f"fix {name} at {shown(value)}", changes=changes)


def together(*remedies: Remedy | None, words: str = "") -> Remedy | None:
    """Return the remedy that does several things, those that there are."""
    there = [remedy for remedy in remedies if remedy is not None]
    changes = tuple(change for remedy in there for change in remedy.changes)
    return Remedy(words=words or " and ".join(one.words for one in there), changes=changes) if there else None


def drop(*fields: str, words: str) -> Remedy:
    """Return the remedy that takes fields out of the spec."""
    return Remedy(words=words, changes=tuple(Change(field=field, value=None) for field in fields))


def search(spec: StudySpec, name: str, low: float, high: float) -> Remedy | None:
    """Return the remedy that searches a number which the study leaves at its default.

    ``None`` also where the trials are too few to tell one more parameter apart.
    """
    if name in spec.search_space or name in spec.fixed or not has_room(spec):
        return None
    kind = HYPERPARAMETERS[name].type
    entry: dict[str, Any] = {"type": kind, "low": low, "high": high}
    return set_field(f"search_space.{name}", entry, f"search {name} from {shown(low)} to {shown(high)}")


def shown(value: Any) -> str:
    """Return a value as a person writes it into a study."""
    if isinstance(value, float):
        return f"{value:.6g}"
    return value if isinstance(value, str) else json.dumps(value)


def _move(dimension: Dimension, edge: Edge, to: float) -> Remedy:
    return set_field(f"{_path(dimension)}.{edge}", to)


def _range(dimension: Dimension) -> FloatRange | IntRange:
    assert not isinstance(dimension.distribution, Choices), dimension
    return dimension.distribution


def _on_a_step(distribution: Distribution, to: float) -> float:
    """Return the value on the range's steps that is nearest to ``to`` in the direction of the range."""
    assert not isinstance(distribution, Choices), distribution
    if distribution.step is None or not math.isfinite(to):
        return to
    low, step = Decimal(str(distribution.low)), Decimal(str(distribution.step))
    steps = (Decimal(str(to)) - low) / step
    on_step = low + step * (math.floor(steps) if steps > 0 else math.ceil(steps))
    return int(on_step) if isinstance(distribution, IntRange) else float(on_step)


def _path(dimension: Dimension) -> str:
    return ".".join(map(str, dimension.path))
