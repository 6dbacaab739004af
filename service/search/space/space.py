"""Contract ranges as Optuna's distributions and back."""

import math

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from spezia.contract.hyperparameters import HYPERPARAMETERS, ParamValue
from spezia.contract.ranges import Choices, Distribution, FloatRange, IntRange, SearchSpace
from spezia.contract.remember import remember
from spezia.contract.space import dimensions, plain_name
from spezia.contract.study_spec import Params, StudySpec


def to_optuna(search_space: SearchSpace) -> dict[str, BaseDistribution]:
    """Return Optuna's distributions by `Dimension.key`, each after those that it depends on."""
    return dict(_by_key(search_space))


@remember(256)
def _by_key(search_space: SearchSpace) -> dict[str, BaseDistribution]:
    return {dimension.key: one_to_optuna(dimension.distribution) for dimension in dimensions(search_space)}


def to_keys(spec: StudySpec, params: Params) -> Params:
    """Return a trial's plain ``params`` as Optuna's tables name them."""
    known = spec.fixed | params
    return {
        one.key: params[one.name]
        for one in dimensions(spec.search_space)
        if one.name in params and one.is_active(known)
    }


def plain_params(params: Params) -> Params:
    """Return what Optuna's tables call a trial's params as plain params."""
    return {plain_name(key): value for key, value in params.items()}


def trial_params(spec: StudySpec, params: Params) -> Params:
    """Return what a trial with Optuna's ``params`` is run with: of the fixed ones those that its method has."""
    chosen = plain_params(params)
    if spec.task == "script":
        return spec.fixed | chosen
    method = (spec.fixed | chosen).get("method", HYPERPARAMETERS["method"].default)
    fixed = {
        name: value
        for name, value in spec.fixed.items()
        if name not in HYPERPARAMETERS or method in HYPERPARAMETERS[name].methods
    }
    return fixed | chosen


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


def one_to_optuna(distribution: Distribution) -> BaseDistribution:
    """Return Optuna's form of one range."""
    if isinstance(distribution, FloatRange):
        # the contract checks no step of a range of one value, and Optuna refuses those below 0
        step = distribution.step if distribution.low < distribution.high else None
        return FloatDistribution(distribution.low, distribution.high, log=distribution.log, step=step)
    if isinstance(distribution, IntRange):
        return IntDistribution(distribution.low, distribution.high, log=distribution.log, step=distribution.step)
    return CategoricalDistribution(distribution.choices)


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
