"""Ranges of the contract as distributions of Optuna's."""

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from spezia.contract.ranges import Distribution, FloatRange, IntRange, SearchSpace
from spezia.contract.remember import remember
from spezia.contract.space import dimensions


def to_optuna(search_space: SearchSpace) -> dict[str, BaseDistribution]:
    """Return Optuna's distributions of a search space by `Dimension.key`, each after those that it depends on."""
    return dict(_by_key(search_space))


@remember(256)
def _by_key(search_space: SearchSpace) -> dict[str, BaseDistribution]:
    return {dimension.key: _one_to_optuna(dimension.distribution) for dimension in dimensions(search_space)}


def _one_to_optuna(distribution: Distribution) -> BaseDistribution:
    """Return Optuna's form of one range."""
    if isinstance(distribution, FloatRange):
        # the contract checks no step of a range of one value, and Optuna refuses those below 0
        step = distribution.step if distribution.low < distribution.high else None
        return FloatDistribution(distribution.low, distribution.high, log=distribution.log, step=step)
    if isinstance(distribution, IntRange):
        return IntDistribution(distribution.low, distribution.high, log=distribution.log, step=distribution.step)
    return CategoricalDistribution(distribution.choices)
