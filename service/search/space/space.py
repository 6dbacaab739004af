"""Contract ranges as Optuna's distributions and back, and where a search starts: the defaults."""

import math
from dataclasses import dataclass

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from service.search.presets.presets import preset_default
from spezia.contract.facts import Facts
from spezia.contract.hyperparameters import HYPERPARAMETERS, ParamValue, default_of
from spezia.contract.ranges import Choices, Distribution, FloatRange, IntRange, SearchSpace
from spezia.contract.remember import remember
from spezia.contract.space import dimensions, plain_name
from spezia.contract.study_spec import Params, StudySpec

USUAL_DROPOUT = 0.1
"""Of BERT and most of its descendants; used when the checkpoint names none."""


@dataclass(frozen=True, kw_only=True)
class Defaults:
    """Where the baseline starts."""

    params: Params
    """A value for every searched parameter that the baseline has, inside its range."""
    warnings: list[str]
    """One sentence for each default that its range does not allow."""


def to_optuna(search_space: SearchSpace) -> dict[str, BaseDistribution]:
    """Return Optuna's distributions by `Dimension.key`, each behind those that it hangs on."""
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


def defaults(spec: StudySpec, facts: Facts) -> Defaults:
    """Return the params of the baseline: every searched parameter's default, moved into its range.

    The defaults of the study's preset come before those of the hyperparameters.
    """
    params: Params = {}
    warnings: list[str] = []
    for dimension in dimensions(spec.search_space):
        if not dimension.is_active(spec.fixed | params):
            continue
        name = dimension.name
        wanted = preset_default(spec, name)
        if wanted is None:
            wanted = _default(name, spec.fixed | params, facts)
        params[name] = nearest(dimension.distribution, wanted)
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


def one_to_optuna(distribution: Distribution) -> BaseDistribution:
    """Return Optuna's form of one range."""
    if isinstance(distribution, FloatRange):
        # the contract checks no step of a range of one value, and Optuna refuses those below 0
        step = distribution.step if distribution.low < distribution.high else None
        return FloatDistribution(distribution.low, distribution.high, log=distribution.log, step=step)
    if isinstance(distribution, IntRange):
        return IntDistribution(distribution.low, distribution.high, log=distribution.log, step=distribution.step)
    return CategoricalDistribution(distribution.choices)


def _default(name: str, params: Params, facts: Facts) -> ParamValue:
    default = default_of(name, params)
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
