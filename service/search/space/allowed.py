"""The values that a spec allows a parameter to have."""

import math

from spezia.contract.hyperparameters import HYPERPARAMETERS, ParamValue
from spezia.contract.ranges import Choices, Distribution, IntRange
from spezia.contract.study_spec import StudySpec


def ranges_of(spec: StudySpec, name: str) -> list[Distribution]:
    """Return the ranges of a searched parameter: several where it depends on others, none where it is not searched."""
    entry = spec.search_space.get(name, [])
    return entry if isinstance(entry, list) else [entry]


def choices_of(spec: StudySpec, name: str) -> set[ParamValue]:
    """Return the names that a parameter may have, searched, fixed or by default."""
    searched = [choice for one in ranges_of(spec, name) if isinstance(one, Choices) for choice in one.choices]
    if searched:
        return set(searched)
    default = spec.fixed.get(name, HYPERPARAMETERS[name].default)
    return set() if default is None else {default}


def largest(spec: StudySpec, name: str) -> float:
    """Return the largest number that a parameter may be, searched, fixed or by default; 0 for a checkpoint's own."""
    searched = [edge for one in ranges_of(spec, name) for edge in edges_of(one)]
    default = spec.fixed.get(name, HYPERPARAMETERS[name].default)
    return max(searched) if searched else float(default or 0)


def edges_of(distribution: Distribution) -> list[float]:
    """Return the bounds of a range, or its choices, as numbers; none of a list of names."""
    if isinstance(distribution, Choices):
        return [float(choice) for choice in distribution.choices if isinstance(choice, int | float)]
    return [float(distribution.low), float(distribution.high)]


def n_values(distribution: Distribution) -> int | None:
    """Return how many values a range has; ``None``: it is continuous."""
    if isinstance(distribution, Choices):
        return len(distribution.choices)
    if distribution.low == distribution.high:
        return 1
    if distribution.step is None:
        return None
    return round((distribution.high - distribution.low) / distribution.step) + 1


def nearest(distribution: Distribution, value: ParamValue) -> ParamValue:
    """Return the value of a range that is nearest to ``value``: in a log range by ratio, among names the first."""
    if isinstance(distribution, Choices):
        return _nearest_choice(distribution.choices, value)
    assert isinstance(value, int | float), value
    inside = min(max(value, distribution.low), distribution.high)
    if isinstance(distribution, IntRange):
        return _nearest_int(distribution, inside)
    if distribution.step is None or distribution.low == distribution.high:
        return float(inside)
    steps = round((inside - distribution.low) / distribution.step)
    return min(distribution.low + steps * distribution.step, distribution.high)


def _nearest_choice(choices: list[ParamValue], value: ParamValue) -> ParamValue:
    for choice in choices:
        if choice == value:
            return choice
    numbers = [choice for choice in choices if isinstance(choice, int | float)]
    if not numbers or not isinstance(value, int | float):
        return choices[0]
    wanted = value
    return min(numbers, key=lambda number: abs(number - wanted))


def _nearest_int(distribution: IntRange, inside: float) -> int:
    below = math.floor((inside - distribution.low) / distribution.step)
    at_or_below = distribution.low + below * distribution.step
    above = min(at_or_below + distribution.step, distribution.high)
    if distribution.log:
        return at_or_below if inside / at_or_below <= above / inside else above
    return at_or_below if inside - at_or_below <= above - inside else above
