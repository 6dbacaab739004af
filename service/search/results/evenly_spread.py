"""Choose some of many, evenly spread."""

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def evenly_spread(many: Sequence[T], at_most: int) -> Sequence[T]:
    """Return up to ``at_most`` (two or more) of ``many`` in their order, the first and the last among them."""
    if len(many) <= at_most:
        return many
    return [many[round(place * (len(many) - 1) / (at_most - 1))] for place in range(at_most)]
