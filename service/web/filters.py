"""How pages write numbers, times and sizes."""

import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from markupsafe import Markup

NOTHING = "–"
"""What stands where there is no value."""

_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def number(value: float | None) -> str:
    """Write a number with at most four significant digits; whole ones whole, with thin spaces between thousands."""
    if value is None:
        return NOTHING
    if float(value).is_integer() and abs(value) < 1e12:
        return f"{int(value):,}".replace(",", "\N{NARROW NO-BREAK SPACE}")
    if not math.isfinite(value):
        return str(value)
    return f"{value:.4g}"


def duration(seconds: float | None) -> str:
    """Write a number of seconds by its two largest units: ``1 h 12 min``."""
    if seconds is None:
        return NOTHING
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return _two(whole, _MINUTE, "min", 1, "s")
    if whole < _DAY:
        return _two(whole, _HOUR, "h", _MINUTE, "min")
    return _two(whole, _DAY, "d", _HOUR, "h")


def _two(seconds: int, large: int, large_unit: str, small: int, small_unit: str) -> str:
    rest = seconds % large // small
    return f"{seconds // large} {large_unit}" + (f" {rest} {small_unit}" if rest else "")


def size(n_bytes: float | None) -> str:
    """Write a number of bytes in the largest unit that leaves it at least 1."""
    if n_bytes is None:
        return NOTHING
    units = ["B", "KiB", "MiB", "GiB", "TiB"]
    power = min(int(math.log2(n_bytes)) // 10, len(units) - 1) if n_bytes >= 1 else 0
    return f"{n_bytes / 1024**power:.3g} {units[power]}" if power else f"{int(n_bytes)} B"


def counted(count: float, noun: str) -> str:
    """Write a number with its noun, such as ``1 epoch`` or ``1.5 epochs``."""
    return f"{number(count)} {noun}" + ("" if count == 1 else "s")


def age(instant: datetime | None) -> Markup | str:
    """Write how long ago an instant was, as an element that `app.js` keeps true."""
    if instant is None:
        return NOTHING
    seconds = (datetime.now(UTC) - instant).total_seconds()
    if seconds < 5:
        shown = "just now"
    else:
        unit, name = next((one, name) for one, name in _UNITS if seconds >= one)
        shown = f"{int(seconds // unit)} {name} ago"
    exact = instant.astimezone(UTC).isoformat(timespec="seconds")
    return Markup('<time datetime="{0}" title="{0}" data-age>{1}</time>').format(exact, shown)


_UNITS = ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min"), (1, "s"))

FILTERS: dict[str, Callable[..., Any]] = {
    "number": number,
    "duration": duration,
    "bytes": size,
    "age": age,
    "counted": counted,
}
"""Filters of the templates, by name."""
