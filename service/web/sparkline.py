"""Small pictures in a line of text."""

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 110, 28
_MARGIN = 2


@dataclass(frozen=True)
class Sparkline:
    """Where a picture of some values has its line and, where there is one, its baseline."""

    path: str
    """The line, as SVG draws it in a box of ``WIDTH`` by ``HEIGHT``."""
    baseline: float | None
    """Height of the baseline in that box, from its top."""


def sparkline(values: Sequence[float], baseline: float | None) -> Sparkline | None:
    """Draw values from left to right, the greatest on top; ``None`` where there are fewer than two."""
    if len(values) < 2:
        return None
    seen = [*values, *([] if baseline is None else [baseline])]
    least, greatest = min(seen), max(seen)

    def height(value: float) -> float:
        share = (value - least) / (greatest - least) if greatest > least else 0.5
        return round(HEIGHT - _MARGIN - share * (HEIGHT - 2 * _MARGIN), 1)

    points = [f"{round(index * WIDTH / (len(values) - 1), 1)} {height(value)}" for index, value in enumerate(values)]
    return Sparkline("M" + "L".join(points), None if baseline is None else height(baseline))
