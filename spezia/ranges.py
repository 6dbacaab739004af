"""Ranges of a search space as Python writes them: ``Float(1e-5, 1e-3, log=True)``."""

from collections.abc import Mapping

from spezia.contract.hyperparameters import ParamValue
from spezia.contract.ranges import Choices, Condition, FloatRange, IntRange


def Float(
    low: float,
    high: float,
    *,
    log: bool = False,
    step: float | None = None,
    when: Mapping[str, Condition] | None = None,
) -> FloatRange:
    """Return a range of numbers, both ends included.

    Args:
        log: Whether to draw the logarithm, as is right for what spans powers of ten. It excludes ``step``.
        step: What values lie apart, counted from ``low``; it has to divide ``high - low``. ``None``: any number.
        when: Only trials in which each of these parameters has this value, or one of these values, have this one.

    Raises:
        ValidationError: The range is empty, ends beyond what a float holds, or has a step that does not fit.
    """
    return FloatRange(type="float", low=low, high=high, log=log, step=step, when=dict(when or {}))


def Int(
    low: int,
    high: int,
    *,
    log: bool = False,
    step: int = 1,
    when: Mapping[str, Condition] | None = None,
) -> IntRange:
    """Return a range of whole numbers, both ends included.

    Args:
        log: Whether to draw the logarithm. It excludes a ``step`` other than 1.
        step: What values lie apart, counted from ``low``; it has to divide ``high - low``.
        when: Only trials in which each of these parameters has this value, or one of these values, have this one.

    Raises:
        ValidationError: The range is empty, or has a step that does not fit.
    """
    return IntRange(type="int", low=low, high=high, log=log, step=step, when=dict(when or {}))


def Categorical(
    choices: list[ParamValue] | tuple[ParamValue, ...], *, when: Mapping[str, Condition] | None = None
) -> Choices:
    """Return a choice among values of one type that have no order.

    Args:
        when: Only trials in which each of these parameters has this value, or one of these values, have this one.

    Raises:
        ValidationError: There are no choices, too many, of several types, or one of them twice.
    """
    listed = list(choices) if isinstance(choices, tuple) else choices
    return Choices(type="categorical", choices=listed, when=dict(when or {}))
