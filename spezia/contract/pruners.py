"""Pruners as a study names them. Option names and defaults are Optuna's."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from spezia.contract.options import CountInt, NoOptions
from spezia.contract.wire import PositiveInt, Wire, refuse


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
