"""The search space of a study as the unit cube: what a parameter is as a number from 0 to 1, and back.

D = parameters.
"""

import math

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from service.search.space.distributions import to_optuna
from service.search.space.params import to_keys
from spezia.contract.hyperparameters import ParamValue, param_value
from spezia.contract.space import dimensions
from spezia.contract.study_spec import Params, StudySpec

Array = NDArray[np.float64]

STEP = 0.15
"""Standard deviation of a neighbour's parameter, as a share of its range."""


class UnitSpace:
    """The parameters of a study as numbers from 0 to 1; NaN where a trial does not have one."""

    def __init__(self, spec: StudySpec, fixed: Params) -> None:
        self._dimensions = dimensions(spec.search_space)
        self._distributions = to_optuna(spec.search_space)
        self._known = dict(spec.fixed)
        self._fixed = to_keys(spec, fixed)
        self.is_choice_D = np.array(
            [isinstance(one, CategoricalDistribution) for one in self._distributions.values()], dtype=bool
        )

    def encode(self, params: Params) -> Array:
        """Return the parameters ``[D]`` of a trial, which go by `Dimension.key`."""
        return np.array(
            [
                _to_unit(distribution, params[key]) if key in params else math.nan
                for key, distribution in self._distributions.items()
            ]
        )

    def draw(self, generator: np.random.Generator) -> Params:
        """Draw params at random, by `Dimension.key`."""
        return self._build(generator.random(len(self._dimensions)))

    def draw_near(self, generator: np.random.Generator, params: Params) -> Params:
        """Draw params near ``params``: numbers a little off, one choice in six another one."""
        units_D = self.encode(params)
        random_D = generator.random(len(units_D))
        moved_D = np.clip(units_D + generator.normal(0, STEP, len(units_D)), 0, np.nextafter(1, 0))
        stays_D = self.is_choice_D & (generator.random(len(units_D)) > 1 / 6)
        near_D = np.where(self.is_choice_D, np.where(stays_D, units_D, random_D), moved_D)
        return self._build(np.where(np.isnan(near_D), random_D, near_D))

    def _build(self, units_D: Array) -> Params:
        known, params = dict(self._known), Params()
        for dimension, unit in zip(self._dimensions, units_D, strict=True):
            if dimension.is_active(known):
                key = dimension.key
                params[key] = (
                    self._fixed[key] if key in self._fixed else _from_unit(self._distributions[key], float(unit))
                )
                known[dimension.name] = params[key]
        return params


def _to_unit(distribution: BaseDistribution, value: object) -> float:
    """Return where ``value`` lies in its range; of choices, the middle of its share."""
    internal = distribution.to_internal_repr(value)
    if isinstance(distribution, CategoricalDistribution):
        return (internal + 0.5) / len(distribution.choices)
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    low, high = float(distribution.low), float(distribution.high)
    if low == high:
        return 0.5
    if distribution.log:
        low, high, internal = math.log(low), math.log(high), math.log(internal)
    return (internal - low) / (high - low)


def _from_unit(distribution: BaseDistribution, unit: float) -> ParamValue:
    """Return the value of a range at ``unit``, from 0 to below 1."""
    if isinstance(distribution, CategoricalDistribution):
        return param_value(distribution.choices[int(unit * len(distribution.choices))])
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    low, high, step = distribution.low, distribution.high, distribution.step
    if step is not None and not distribution.log:
        n_steps = round((high - low) / step)  # Optuna has moved the end to a step
        value = low + step * int(unit * (n_steps + 1))
    elif distribution.log:
        # a whole number has the room around it, as in Optuna
        margin = 0.5 if isinstance(distribution, IntDistribution) else 0.0
        bottom, top = math.log(low - margin), math.log(high + margin)
        value = math.exp(bottom + unit * (top - bottom))
    else:
        value = low + unit * (high - low)
    value = min(max(value, low), high)
    return round(value) if isinstance(distribution, IntDistribution) else float(value)
