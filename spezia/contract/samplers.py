"""Samplers as a study names them. Option names and defaults are Optuna's."""

from typing import Annotated, Literal

from pydantic import Field

from spezia.contract.options import CountInt, NoOptions
from spezia.contract.ranges import FloatRange, SearchSpace
from spezia.contract.space import dimensions, is_conditional
from spezia.contract.wire import FieldError, PositiveInt, Wire

Probability = Annotated[float, Field(ge=0, le=1)]


class TpeOptions(Wire):
    n_startup_trials: CountInt = 10
    n_ei_candidates: PositiveInt = 24
    multivariate: bool | None = None
    group: bool = False
    constant_liar: bool = True


class GpOptions(Wire):
    n_startup_trials: CountInt = 10
    deterministic_objective: bool = False


class CmaEsOptions(Wire):
    n_startup_trials: CountInt = 1
    sigma0: Annotated[float, Field(gt=0)] | None = None
    popsize: Annotated[int, Field(ge=3, le=10_000)] | None = None
    consider_pruned_trials: bool = False
    use_separable_cma: bool = False
    with_margin: bool = False
    lr_adapt: bool = False


class QmcOptions(Wire):
    qmc_type: Literal["sobol", "halton"] = "sobol"
    scramble: bool = False


class NsgaOptions(Wire):
    population_size: Annotated[int, Field(ge=2, le=10_000)] = 50
    mutation_prob: Probability | None = None
    crossover_prob: Probability = 0.9
    swapping_prob: Probability = 0.5


class Nsga3Options(NsgaOptions):
    dividing_parameter: PositiveInt = 3


class TpeSampler(Wire):
    name: Literal["tpe"] = "tpe"
    options: TpeOptions = TpeOptions()


class GpSampler(Wire):
    name: Literal["gp"]
    options: GpOptions = GpOptions()


class RandomSampler(Wire):
    name: Literal["random"]
    options: NoOptions = NoOptions()


class GridSampler(Wire):
    name: Literal["grid"]
    options: NoOptions = NoOptions()


class CmaEsSampler(Wire):
    name: Literal["cmaes"]
    options: CmaEsOptions = CmaEsOptions()


class QmcSampler(Wire):
    name: Literal["qmc"]
    options: QmcOptions = QmcOptions()


class Nsga2Sampler(Wire):
    name: Literal["nsga2"]
    options: NsgaOptions = NsgaOptions()


class Nsga3Sampler(Wire):
    name: Literal["nsga3"]
    options: Nsga3Options = Nsga3Options()


Sampler = Annotated[
    TpeSampler | GpSampler | RandomSampler | GridSampler | CmaEsSampler | QmcSampler | Nsga2Sampler | Nsga3Sampler,
    Field(discriminator="name"),
]


def sampler_errors(sampler: Sampler, space: SearchSpace) -> list[FieldError]:
    """What the sampler cannot do with the search space."""
    if is_conditional(space):
        if isinstance(sampler, GpSampler | CmaEsSampler | GridSampler):
            message = f"{sampler.name} needs every parameter in every trial, but some here have a `when`; use tpe"
            return [(("sampler", "name"), message, sampler.name)]
        if isinstance(sampler, TpeSampler) and sampler.options.multivariate is False:
            message = "ranges with a `when` are searched in groups, which needs multivariate; drop it"
            return [(("sampler", "options", "multivariate"), message, False)]
    if not isinstance(sampler, GridSampler):
        return []
    message = "a grid needs the step of a float range (and no log); or list choices"
    ranges = [(one.path, one.distribution) for one in dimensions(space)]
    return [
        ((*path, "step"), message, None)
        for path, one in ranges
        if isinstance(one, FloatRange) and one.step is None and one.low < one.high
    ]
