"""Samplers, which propose the params of trials, with their options; names and defaults are Optuna's but for one.

The classes of the options say in Optuna's words what each option does; optuna.samplers documents the algorithms.
"""

import math
from typing import Annotated, Literal

from pydantic import Field

from spezia.contract.options import CountInt, NoOptions
from spezia.contract.ranges import FloatRange, SearchSpace
from spezia.contract.space import each_dimension, is_conditional
from spezia.contract.wire import FieldError, PositiveInt, Wire

MAX_CANDIDATES = 1_000
"""Largest ``n_ei_candidates`` that may be posted: TPE makes a table of them by all trials for each parameter."""
MAX_REFERENCE_NUMBERS = 1_000_000
"""Largest product of reference points and divisions of NSGA-III that may be posted: Optuna lists so many numbers."""

Probability = Annotated[float, Field(ge=0, le=1)]
"""A probability, from 0 to 1."""


class TpeOptions(Wire):
    """Options of the sampler ``tpe``."""

    n_startup_trials: CountInt = 10
    """Number of finished trials until which params are drawn at random."""
    n_ei_candidates: PositiveInt = 24
    """Number of candidates that are drawn for each proposal; the one of the highest expected improvement is taken."""
    multivariate: bool | None = None
    """Whether params are modelled together; null: with one objective they are, with several they are modelled one by
    one."""
    group: bool = False
    """Whether params that trials have together are modelled as groups; always true where a range has a ``when``."""
    constant_liar: bool = True
    """Whether running trials count as bad ones, so that trials that run at once differ."""


class GpOptions(Wire):
    """Options of the sampler ``gp``."""

    n_startup_trials: CountInt = 10
    """Number of COMPLETE trials until which params are drawn at random."""
    deterministic_objective: bool = False
    """Whether the same params always give the same value, so that the model assumes almost no noise."""


class CmaEsOptions(Wire):
    """Options of the sampler ``cmaes``."""

    n_startup_trials: CountInt = 1
    """Number of finished trials until which params are drawn at random."""
    sigma0: Annotated[float, Field(gt=0)] | None = None
    """Standard deviation at the start; null: a sixth of the smallest range."""
    popsize: Annotated[int, Field(ge=3, le=10_000)] | None = None
    """Number of trials in a generation; null: the more, the more params are searched."""
    consider_pruned_trials: bool = False
    """Whether PRUNED trials are learnt from too, by their last value."""
    use_separable_cma: bool = False
    """Whether params are taken as independent, which needs fewer trials where they nearly are."""
    with_margin: bool = False
    """Whether whole numbers and ranges with a step are kept from freezing at one value."""
    lr_adapt: bool = False
    """Whether the sampler's own learning rate adapts to noise and to several optima."""


class QmcOptions(Wire):
    """Options of the sampler ``qmc``."""

    qmc_type: Literal["sobol", "halton"] = "sobol"
    """Quasi-random sequence that the params are taken from."""
    scramble: bool = False
    """Whether the sequence is scrambled, by the study's seed."""


class NsgaOptions(Wire):
    """Options of the sampler ``nsga2``."""

    population_size: Annotated[int, Field(ge=2, le=10_000)] = 50
    """Number of trials in a generation."""
    mutation_prob: Probability | None = None
    """Probability that a param of a new trial is drawn at random; null: 1 divided by the number of params."""
    crossover_prob: Probability = 0.9
    """Probability that a new trial takes params from two parents and not from one."""
    swapping_prob: Probability = 0.5
    """Probability that a param is swapped between the two parents of a new trial."""


class Nsga3Options(NsgaOptions):
    """Options of the sampler ``nsga3``."""

    dividing_parameter: PositiveInt = 3
    """Number of divisions of each objective's axis, which sets how many reference points there are."""


class MultiFidelityOptions(Wire):
    """Options of the sampler ``multi-fidelity``, which is Spezia's own."""

    n_startup_trials: CountInt = 6
    """Number of trials with a value until which params are drawn at random."""
    random_share: Probability = 1 / 3
    """Share of the later trials that are drawn at random, too, so that the model does not only see what it likes."""


class TpeSampler(Wire):
    """Tree-structured Parzen estimator: learns which params good trials have, and copes with every search space."""

    name: Literal["tpe"] = "tpe"
    """Name of the sampler."""
    options: TpeOptions = TpeOptions()
    """Options of the sampler."""


class GpSampler(Wire):
    """Gaussian process: models the objective over the search space, for few and costly trials."""

    name: Literal["gp"]
    """Name of the sampler."""
    options: GpOptions = GpOptions()
    """Options of the sampler."""


class RandomSampler(Wire):
    """Random search: each trial is drawn by itself."""

    name: Literal["random"]
    """Name of the sampler."""
    options: NoOptions = NoOptions()
    """The sampler has no options."""


class GridSampler(Wire):
    """Grid search: visits each combination of values once, in an order drawn by the study's seed."""

    name: Literal["grid"]
    """Name of the sampler."""
    options: NoOptions = NoOptions()
    """The sampler has no options."""


class CmaEsSampler(Wire):
    """Covariance matrix adaptation: evolves a normal distribution over numeric params, for one objective."""

    name: Literal["cmaes"]
    """Name of the sampler."""
    options: CmaEsOptions = CmaEsOptions()
    """Options of the sampler."""


class QmcSampler(Wire):
    """Quasi-Monte Carlo: takes params from a sequence that covers the search space evenly."""

    name: Literal["qmc"]
    """Name of the sampler."""
    options: QmcOptions = QmcOptions()
    """Options of the sampler."""


class Nsga2Sampler(Wire):
    """NSGA-II: evolves generations of trials, for two or three objectives."""

    name: Literal["nsga2"]
    """Name of the sampler."""
    options: NsgaOptions = NsgaOptions()
    """Options of the sampler."""


class Nsga3Sampler(Wire):
    """NSGA-III: as NSGA-II, with reference points that keep trials apart where there are many objectives."""

    name: Literal["nsga3"]
    """Name of the sampler."""
    options: Nsga3Options = Nsga3Options()
    """Options of the sampler."""


class MultiFidelitySampler(Wire):
    """Gaussian process over configurations and rungs: learns from the early values of all trials, whatever ended or
    paused them; for one objective, and best with the pruner ``rungs``."""

    name: Literal["multi-fidelity"]
    """Name of the sampler."""
    options: MultiFidelityOptions = MultiFidelityOptions()
    """Options of the sampler."""


Sampler = Annotated[
    TpeSampler
    | GpSampler
    | RandomSampler
    | GridSampler
    | CmaEsSampler
    | QmcSampler
    | Nsga2Sampler
    | Nsga3Sampler
    | MultiFidelitySampler,
    Field(discriminator="name"),
]
"""Any sampler, told apart by its ``name``."""


def cost_errors(sampler: Sampler, n_objectives: int) -> list[FieldError]:
    """Find options with which a sampler would take minutes or gigabytes for each proposal."""
    if isinstance(sampler, TpeSampler) and sampler.options.n_ei_candidates > MAX_CANDIDATES:
        message = f"tpe compares all candidates with all trials; lower n_ei_candidates to {MAX_CANDIDATES} at most"
        return [(("sampler", "options", "n_ei_candidates"), message, sampler.options.n_ei_candidates)]
    if isinstance(sampler, Nsga3Sampler):
        divisions = sampler.options.dividing_parameter
        n_points = math.comb(divisions + n_objectives - 1, divisions)
        if n_points * divisions > MAX_REFERENCE_NUMBERS:
            message = f"nsga3 would compare trials with {n_points} reference points; lower dividing_parameter"
            return [(("sampler", "options", "dividing_parameter"), message, divisions)]
    return []


def sampler_errors(sampler: Sampler, space: SearchSpace) -> list[FieldError]:
    """Find what the sampler cannot do with the search space."""
    if is_conditional(space):
        if isinstance(sampler, GpSampler | CmaEsSampler | GridSampler):
            message = (
                f"{sampler.name} needs every parameter in every trial, but some ranges here have a `when`; use tpe"
            )
            return [(("sampler", "name"), message, sampler.name)]
        if isinstance(sampler, TpeSampler) and sampler.options.multivariate is False:
            message = "ranges with a `when` need a multivariate tpe; drop multivariate"
            return [(("sampler", "options", "multivariate"), message, False)]
    if not isinstance(sampler, GridSampler):
        return []
    message = "a grid needs a step for a float range (without log); give one, or list choices"
    ranges = [(one.path, one.distribution) for one in each_dimension(space)]
    return [
        ((*path, "step"), message, None)
        for path, one in ranges
        if isinstance(one, FloatRange) and one.step is None and one.low < one.high
    ]
