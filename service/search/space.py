"""Contract ranges as Optuna's distributions and back, and where a search starts: the defaults."""

import math
from dataclasses import dataclass

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from service.contract.hyperparameters import HYPERPARAMETERS, ParamValue
from service.contract.search import Choices, Distribution, FloatRange, IntRange
from service.contract.study import Facts, Params, StudySpec

USUAL_DROPOUT = 0.1
"""Of BERT and most of its descendants; used when the checkpoint names none."""


@dataclass(frozen=True, kw_only=True)
class Defaults:
    """Where the baseline starts."""

    params: Params
    """A value for every searched parameter, inside its range."""
    warnings: list[str]
    """One sentence for each default that its range does not allow."""


def to_optuna(search_space: dict[str, Distribution]) -> dict[str, BaseDistribution]:
    """Return Optuna's distributions of a search space, in the same order."""
    return {name: _one_to_optuna(distribution) for name, distribution in search_space.items()}


def from_optuna(distribution: BaseDistribution) -> Distribution:
    """Return the contract's form of a distribution that `to_optuna` made."""
    if isinstance(distribution, FloatDistribution):
        low, high, log, step = distribution.low, distribution.high, distribution.log, distribution.step
        return FloatRange(type="float", low=low, high=high, log=log, step=step)
    if isinstance(distribution, IntDistribution):
        return IntRange(
            type="int",
            low=distribution.low,
            high=distribution.high,
            log=distribution.log,
            step=distribution.step,
        )
    assert isinstance(distribution, CategoricalDistribution), distribution
    return Choices.model_validate({"type": "categorical", "choices": list(distribution.choices)})


def defaults(spec: StudySpec, facts: Facts) -> Defaults:
    """Return the params of the baseline: every searched parameter's default, moved into its range."""
    params: Params = {}
    warnings: list[str] = []
    for name, distribution in spec.search_space.items():
        wanted = _default(name, facts)
        params[name] = nearest(distribution, wanted)
        if params[name] != wanted:
            warnings.append(
                f"baseline: the default {name} = {_words(wanted)} is not in search_space;"
                f" it starts from {_words(params[name])}, the nearest that is"
            )
    return Defaults(params=params, warnings=warnings)


def nearest(distribution: Distribution, value: ParamValue) -> ParamValue:
    """Return the allowed value nearest to ``value``: in a log range by ratio, among names the first."""
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


def _one_to_optuna(distribution: Distribution) -> BaseDistribution:
    if isinstance(distribution, FloatRange):
        # the contract checks no step of a range of one value, and Optuna refuses those below 0
        step = distribution.step if distribution.low < distribution.high else None
        return FloatDistribution(distribution.low, distribution.high, log=distribution.log, step=step)
    if isinstance(distribution, IntRange):
        return IntDistribution(distribution.low, distribution.high, log=distribution.log, step=distribution.step)
    return CategoricalDistribution(distribution.choices)


def _default(name: str, facts: Facts) -> ParamValue:
    default = HYPERPARAMETERS[name].default
    if default is not None:
        return default
    assert name == "dropout", name
    return USUAL_DROPOUT if facts.checkpoint_dropout is None else facts.checkpoint_dropout


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


def _words(value: ParamValue) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
