"""Samplers and pruners as a study names them. Option names and defaults are Optuna's."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from spezia.contract.ranges import PositiveInt
from spezia.contract.wire import Wire, refuse

Probability = Annotated[float, Field(ge=0, le=1)]
CountInt = Annotated[int, Field(ge=0, le=100_000)]


class NoOptions(Wire):
    pass


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


class MedianOptions(Wire):
    n_startup_trials: CountInt = 5
    """COMPLETE trials that the study must have before anything is pruned."""
    n_warmup_steps: CountInt = 0
    """Steps, counted from 1, that are never pruned: 1 protects step 1."""
    interval_steps: PositiveInt = 1
    n_min_trials: PositiveInt = 1


class PercentileOptions(MedianOptions):
    percentile: Annotated[float, Field(ge=0, le=100)] = 50.0


class SuccessiveHalvingOptions(Wire):
    min_resource: PositiveInt = 1
    reduction_factor: Annotated[int, Field(ge=2, le=1_000)] = 4
    min_early_stopping_rate: CountInt = 0
    bootstrap_count: CountInt = 0


class HyperbandOptions(Wire):
    min_resource: PositiveInt = 1
    max_resource: PositiveInt | None = None
    """Absent: the number of evaluations of the longest trial that the space allows."""
    reduction_factor: Annotated[int, Field(ge=2, le=1_000)] = 3
    bootstrap_count: CountInt = 0


class PatientOptions(Wire):
    patience: CountInt = 2
    min_delta: Annotated[float, Field(ge=0)] = 0.0


class ThresholdOptions(Wire):
    lower: float | None = None
    upper: float | None = None
    n_warmup_steps: CountInt = 0
    interval_steps: PositiveInt = 1

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.lower is None and self.upper is None:
            refuse("ThresholdOptions", [(("lower",), "give lower, upper or both", None)])
        return self


class NoPruner(Wire):
    name: Literal["none"] = "none"
    options: NoOptions = NoOptions()


class MedianPruner(Wire):
    name: Literal["median"]
    options: MedianOptions = MedianOptions()


class PercentilePruner(Wire):
    name: Literal["percentile"]
    options: PercentileOptions = PercentileOptions()


class SuccessiveHalvingPruner(Wire):
    name: Literal["successive-halving"]
    options: SuccessiveHalvingOptions = SuccessiveHalvingOptions()


class HyperbandPruner(Wire):
    name: Literal["hyperband"]
    options: HyperbandOptions = HyperbandOptions()


class PatientPruner(Wire):
    name: Literal["patient"]
    options: PatientOptions = PatientOptions()


class ThresholdPruner(Wire):
    name: Literal["threshold"]
    options: ThresholdOptions


Pruner = Annotated[
    NoPruner
    | MedianPruner
    | PercentilePruner
    | SuccessiveHalvingPruner
    | HyperbandPruner
    | PatientPruner
    | ThresholdPruner,
    Field(discriminator="name"),
]
