"""Search spaces as unit cubes: where a value lies between the ends of its range, and back."""

import math
from typing import Any


def value_at(distribution: dict[str, Any], share: float) -> Any:
    """Return the value that lies ``share`` (0 to 1) of the way through a distribution."""
    if distribution["type"] == "categorical":
        choices = distribution["choices"]
        return choices[min(int(share * len(choices)), len(choices) - 1)]
    low, high = distribution["low"], distribution["high"]
    if distribution["type"] == "int":
        return min(low + int(share * (high - low + 1)), high)
    return low * (high / low) ** share if distribution.get("log") else low + share * (high - low)


def share_at(distribution: dict[str, Any], value: Any) -> float:
    """Return where in a distribution ``value`` lies; an integer or a category in the middle of its share."""
    if distribution["type"] == "categorical":
        choices = distribution["choices"]
        return float((choices.index(value) + 0.5) / len(choices))
    low, high = distribution["low"], distribution["high"]
    if distribution["type"] == "int":
        return float((value - low + 0.5) / (high - low + 1))
    if distribution.get("log"):
        return math.log(value / low) / math.log(high / low)
    return float((value - low) / (high - low))
