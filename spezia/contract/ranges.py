"""Ranges of a search space, as a study gives them: float, int and categorical, each with an optional condition."""

import math
from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from spezia.contract.hyperparameters import ParamValue
from spezia.contract.wire import ONE, SEVERAL, AtMost, ExactInt, PositiveInt, Wire, listed, one_or_several, refuse

MAX_CHOICES = 64
"""Largest number of choices of a categorical range, of ranges of a parameter, and of values of a condition."""

MAX_STEPS = 2**60
"""Largest number of values of a float range with a step: more than any float tells apart, and few enough that Optuna's
decimals of 28 digits can divide."""

Condition = ParamValue | Annotated[list[ParamValue], Field(min_length=1, max_length=MAX_CHOICES, fail_fast=True)]
"""Value or values of a parameter under which a range is active."""


class _Conditional(Wire):
    when: Annotated[dict[str, Condition], AtMost(8)] = {}
    """Condition of the range: values of other parameters by name, each one value or a list of values. Only trials in
    which every parameter named here has such a value have a parameter in this range; empty: all trials do."""


class FloatRange(_Conditional):
    """A range of numbers."""

    type: Literal["float"]
    """Type of the range."""
    low: float
    """Smallest value."""
    high: float
    """Largest value."""
    log: bool = False
    """Whether values are drawn evenly on a logarithmic scale, as learning rates need it."""
    step: float | None = None
    """Distance from one value to the next; null: any number from ``low`` to ``high``."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        span = self.high - self.low
        refuse(
            "FloatRange",
            [
                *_order_errors(self.low, self.high),
                *_log_errors(self.log, self.low, self.step),
                *(
                    [(("high",), "high - low is too large for a number; narrow the range", self.high)]
                    if math.isinf(span)
                    else []
                ),
                *_step_errors(self.low, self.high, self.step),
            ],
        )
        return self


class IntRange(_Conditional):
    """A range of whole numbers."""

    type: Literal["int"]
    """Type of the range."""
    low: ExactInt
    """Smallest value."""
    high: ExactInt
    """Largest value."""
    log: bool = False
    """Whether values are drawn evenly on a logarithmic scale."""
    step: PositiveInt = 1
    """Distance from one value to the next."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        refuse(
            "IntRange",
            [
                *_order_errors(self.low, self.high),
                *_log_errors(self.log, self.low, self.step if self.step != 1 else None),
                *_step_errors(self.low, self.high, self.step),
            ],
        )
        return self


class Choices(_Conditional):
    """A list of values, without an order."""

    type: Literal["categorical"]
    """Type of the range."""
    choices: Annotated[list[ParamValue], Field(min_length=1, max_length=MAX_CHOICES, fail_fast=True)]
    """Values to choose from, all of one type."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        kinds = {"number" if type(choice) in (int, float) else type(choice).__name__ for choice in self.choices}
        errors = []
        if len(kinds) > 1:
            errors.append((("choices",), f"choices mix {' and '.join(sorted(kinds))}; use one type", self.choices))
        elif len(set(self.choices)) < len(self.choices):
            errors.append((("choices",), "a choice is listed twice; list each once", self.choices))
        refuse("Choices", errors)
        return self


Distribution = Annotated[FloatRange | IntRange | Choices, Field(discriminator="type")]
"""Any range, told apart by its ``type``."""


SearchSpace = dict[
    str,
    Annotated[
        Annotated[Distribution, Tag(ONE)]
        | Annotated[list[Distribution], Field(min_length=2, max_length=MAX_CHOICES, fail_fast=True), Tag(SEVERAL)],
        Discriminator(one_or_several),
    ],
]
"""Ranges of parameters by name; where a parameter's range depends on others, a list of ranges, each with a ``when``."""


def value_problem(distribution: Distribution, value: object) -> str | None:
    """Say what ``value`` must be to lie inside ``distribution``; ``None`` if it does."""
    if isinstance(distribution, Choices):
        choices = distribution.choices
        # no two choices are equal, and in Python 1, 1.0 and True are
        inside = value in choices and type(choices[choices.index(value)]) is type(value)
        return None if inside else f"must be one of {listed(choices)}"
    if _is_inside(distribution, value):
        return None
    whole = isinstance(distribution, IntRange)
    number = "a whole number" if whole else "a number"
    has_step = distribution.step is not None and not (whole and distribution.step == 1)
    steps = f" in steps of {distribution.step:g}" if has_step else ""
    return f"must be {number} from {distribution.low:g} to {distribution.high:g}{steps}"


def _is_inside(distribution: FloatRange | IntRange, value: object) -> bool:
    whole = isinstance(distribution, IntRange)
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
        return False
    if not distribution.low <= value <= distribution.high:
        return False
    if distribution.step is None or (whole and distribution.step == 1):
        return True
    steps = (value - distribution.low) / distribution.step
    return abs(steps - round(steps)) < 1e-8 * max(1.0, steps)


def _order_errors(low: float, high: float) -> list[tuple[tuple[str], str, float]]:
    return [(("low",), f"low {low:g} lies above high {high:g}; swap them", low)] if low > high else []


def _log_errors(log: bool, low: float, step: float | None) -> list[tuple[tuple[str], str, object]]:
    errors: list[tuple[tuple[str], str, object]] = []
    if log and low <= 0:
        errors.append((("low",), f"a log range must start above 0, not at {low:g}", low))
    if log and step is not None:
        errors.append((("step",), "a log range takes no step; drop step or log", step))
    return errors


def _step_errors(low: float, high: float, step: float | None) -> list[tuple[tuple[str], str, object]]:
    if step is None:
        return []
    if step <= 0:
        return [(("step",), "step must be above 0; drop it for a continuous range", step)]
    if (high - low) / step > MAX_STEPS:
        return [(("step",), f"step {step:g} cuts {low:g} to {high:g} into more than 2**60 values; drop step", step)]
    # in decimals, as Optuna divides them: 0.3 is three steps of 0.1
    if low < high and (Decimal(str(high)) - Decimal(str(low))) % Decimal(str(step)) != 0:
        return [(("step",), f"step {step:g} does not divide high - low = {high - low:g}; change step or high", step)]
    return []
