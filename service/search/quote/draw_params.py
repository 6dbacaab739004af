"""Draws params by chance, as a random sampler does, without a study."""

import math
from random import Random

from service.search.space.allowed import nearest
from service.search.space.params import trial_params
from spezia.contract.hyperparameters import ParamValue
from spezia.contract.ranges import Choices, Distribution, IntRange
from spezia.contract.space import dimensions
from spezia.contract.study_spec import Params, StudySpec


def draw_params(spec: StudySpec, chance: Random, given: Params) -> Params:
    """Return all params that a trial runs with: searched ones, ``given`` or drawn, and those fixed ones that it has."""
    params: Params = {}
    for dimension in dimensions(spec.search_space):
        if dimension.is_active(spec.fixed | params):
            name = dimension.name
            params[name] = given[name] if name in given else _draw(dimension.distribution, chance)
    return trial_params(spec, params)


def _draw(distribution: Distribution, chance: Random) -> ParamValue:
    if isinstance(distribution, Choices):
        return chance.choice(distribution.choices)
    low, high = float(distribution.low), float(distribution.high)
    if isinstance(distribution, IntRange):  # so that its ends are as likely as what lies between
        low, high = low - distribution.step / 2, high + distribution.step / 2
    drawn = math.exp(chance.uniform(math.log(low), math.log(high))) if distribution.log else chance.uniform(low, high)
    return nearest(distribution, drawn)
