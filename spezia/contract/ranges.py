"""Ranges of a search space, as a study names them."""

import math
from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from spezia.contract.hyperparameters import ParamValue
from spezia.contract.wire import ONE, SEVERAL, PositiveInt, Wire, one_or_several, refuse

MAX_CHOICES = 64
MAX_STEPS = 2**60
"""More than any float tells apart, and few enough that Optuna's decimals (28 digits) divide."""

Condition = ParamValue | Annotated[list[ParamValue], Field(min_length=1, max_length=MAX_CHOICES)]


class _Conditional(Wire):
    when: Annotated[dict[str, Condition], Field(max_length=8)] = {}
    """Only trials in which each of these parameters has this value, or one of these values, have this one."""


class FloatRange(_Conditional):
    type: Literal["float"]
    low: float
    high: float
    log: bool = False
    step: float | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        span = self.high - self.low
        refuse(
            "FloatRange",
            [
                *_order_errors(self.low, self.high),
                *_log_errors(self.log, self.low, self.step),
                *([(("high",), "high - low is too large for a number", self.high)] if math.isinf(span) else []),
                *_step_errors(self.low, self.high, self.step),
            ],
        )
        return self


class IntRange(_Conditional):
    type: Literal["int"]
    low: Annotated[int, Field(ge=-(2**53), le=2**53)]
    high: Annotated[int, Field(ge=-(2**53), le=2**53)]
    log: bool = False
    step: PositiveInt = 1

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
    type: Literal["categorical"]
    choices: Annotated[list[ParamValue], Field(min_length=1, max_length=MAX_CHOICES)]

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


SearchSpace = dict[
    str,
    Annotated[
        Annotated[Distribution, Tag(ONE)]
        | Annotated[list[Distribution], Field(min_length=2, max_length=MAX_CHOICES), Tag(SEVERAL)],
        Discriminator(one_or_several),
    ],
]
"""A parameter's range by its name; or, where the range depends on others, a list of which each has its ``when``."""


def value_problem(distribution: Distribution, value: object) -> str | None:
    """Say why ``value`` lies outside ``distribution``, or ``None`` if it is inside."""
    if isinstance(distribution, Choices):
        inside = any(type(value) is type(choice) and value == choice for choice in distribution.choices)
        return None if inside else f"must be one of {', '.join(map(str, distribution.choices))}"
    whole = isinstance(distribution, IntRange)
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
        return f"must be {'a whole number' if whole else 'a number'}"
    if not distribution.low <= value <= distribution.high:
        return f"must lie in [{distribution.low:g}, {distribution.high:g}]"
    if distribution.step is None or (whole and distribution.step == 1):
        return None
    steps = (value - distribution.low) / distribution.step
    return None if abs(steps - round(steps)) < 1e-8 * max(1.0, steps) else f"must lie on the step {distribution.step:g}"


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
        return [(("step",), "step must be above 0", step)]
    if (high - low) / step > MAX_STEPS:
        return [(("step",), f"step {step:g} cuts {low:g} to {high:g} into more than 2**60 values; drop step", step)]
    # in decimals, as Optuna divides them: 0.3 is three steps of 0.1
    if low < high and (Decimal(str(high)) - Decimal(str(low))) % Decimal(str(step)) != 0:
        return [(("step",), f"step {step:g} does not divide high - low = {high - low:g}", step)]
    return []
