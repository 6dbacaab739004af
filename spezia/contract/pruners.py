"""Pruners, which end or pause trials because of their values, with their options; names and defaults are Optuna's, but
for ``rungs``, which is ours.

Steps count evaluations, from 1. Where ``epochs`` is searched, a trial is compared only with trials that were to run at
least as long; optuna.pruners documents the algorithms.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from spezia.contract.options import CountInt, NoOptions
from spezia.contract.wire import PositiveInt, Wire, refuse


class MedianOptions(Wire):
    """Options of the pruner ``median``."""

    n_startup_trials: CountInt = 5
    """Number of COMPLETE trials that the study must have before anything is pruned."""
    n_warmup_steps: CountInt = 0
    """Number of steps at the start of a trial that are never pruned: 1 protects step 1."""
    interval_steps: PositiveInt = 1
    """Number of steps from one decision to the next, counted from the end of the warm-up."""
    n_min_trials: PositiveInt = 1
    """Number of other trials that must have reported a step before a trial is pruned at it."""


class PercentileOptions(MedianOptions):
    """Options of the pruner ``percentile``."""

    percentile: Annotated[float, Field(ge=0, le=100)] = 50.0
    """Share of trials in percent that goes on at each step: 25 keeps the best quarter."""


class SuccessiveHalvingOptions(Wire):
    """Options of the pruner ``successive-halving``."""

    min_resource: PositiveInt = 1
    """Number of steps at which the first rung stands."""
    reduction_factor: Annotated[int, Field(ge=2, le=1_000)] = 4
    """At each rung the best one of so many trials goes on; each rung stands at so many times the steps of the one
    before."""
    min_early_stopping_rate: CountInt = 0
    """Number of rungs that are left out at the start, where nothing is pruned."""
    bootstrap_count: CountInt = 0
    """Number of trials that must have reached a rung before any goes on from it."""


class HyperbandOptions(Wire):
    """Options of the pruner ``hyperband``."""

    min_resource: PositiveInt = 1
    """Number of steps at which the first rung of the most eager bracket stands."""
    max_resource: PositiveInt | None = None
    """Number of steps of the longest trial; when absent, the number of evaluations of the longest trial that the
    search space allows."""
    reduction_factor: Annotated[int, Field(ge=2, le=1_000)] = 3
    """At each rung the best one of so many trials goes on; each rung stands at so many times the steps of the one
    before."""
    bootstrap_count: CountInt = 0
    """Number of trials that must have reached a rung before any goes on from it."""


class PatientOptions(Wire):
    """Options of the pruner ``patient``."""

    patience: CountInt = 2
    """A trial is pruned when its last ``patience + 1`` evaluations have brought no improvement."""
    min_delta: Annotated[float, Field(ge=0)] = 0.0
    """Smallest difference in the objective's value that counts as an improvement."""


class ThresholdOptions(Wire):
    """Options of the pruner ``threshold``; at least one of the two limits is needed."""

    lower: float | None = None
    """Value below which a trial is pruned; null: there is no such limit."""
    upper: float | None = None
    """Value above which a trial is pruned; null: there is no such limit."""
    n_warmup_steps: CountInt = 0
    """Number of steps at the start of a trial that are never pruned: 1 protects step 1."""
    interval_steps: PositiveInt = 1
    """Number of steps from one decision to the next, counted from the end of the warm-up."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.lower is None and self.upper is None:
            refuse("ThresholdOptions", [(("lower",), "give lower, upper or both", None)])
        return self


MAX_FIRST = 2**31 - 1
"""Largest step at which a first rung may stand."""


class RungsOptions(Wire):
    """Options of the pruner ``rungs``."""

    eta: Annotated[int, Field(ge=2, le=100)] = 4
    """Number of trials that reach a rung for each one that is promoted from it; each rung also stands at so many times
    the steps of the one before."""
    first: Annotated[int, Field(ge=1, le=MAX_FIRST)] | None = None
    """Number of steps at which the first rung stands. When absent, about a fiftieth of the longest trial, but behind
    its warm-up and at least 8 optimizer steps; it is decided when the study has been prepared, and written here."""
    validation_share: Annotated[float, Field(gt=0, le=1)] | None = None
    """Share of the validation rows that a trial reads at its first rung; at each further one it reads ``eta`` times as
    many, until it reads all. When absent, as many as it reads in a tenth of its training up to there, but at least 256;
    it is decided when the study has been prepared, and written here."""
    top: PositiveInt = 3
    """Number of trials that are carried out to their end before the study drops those that are still paused;
    those that never pause do not count."""


class NoPruner(Wire):
    """No pruning: every trial runs to its end, unless early stopping ends it."""

    name: Literal["none"] = "none"
    """Name of the pruner."""
    options: NoOptions = NoOptions()
    """The pruner has no options."""


class MedianPruner(Wire):
    """Ends a trial whose best value so far is worse than the median of the other trials at the same step."""

    name: Literal["median"]
    """Name of the pruner."""
    options: MedianOptions = MedianOptions()
    """Options of the pruner."""


class PercentilePruner(Wire):
    """Ends a trial whose best value so far is not among the best percentage of the other trials at the same step."""

    name: Literal["percentile"]
    """Name of the pruner."""
    options: PercentileOptions = PercentileOptions()
    """Options of the pruner."""


class SuccessiveHalvingPruner(Wire):
    """Asynchronous successive halving: at each rung, a growing number of steps, only the best share goes on."""

    name: Literal["successive-halving"]
    """Name of the pruner."""
    options: SuccessiveHalvingOptions = SuccessiveHalvingOptions()
    """Options of the pruner."""


class HyperbandPruner(Wire):
    """Hyperband: several brackets of successive halving, from those that prune early to those that prune late."""

    name: Literal["hyperband"]
    """Name of the pruner."""
    options: HyperbandOptions = HyperbandOptions()
    """Options of the pruner."""


class PatientPruner(Wire):
    """Ends a trial that has stopped improving, whatever the other trials do."""

    name: Literal["patient"]
    """Name of the pruner."""
    options: PatientOptions = PatientOptions()
    """Options of the pruner."""


class ThresholdPruner(Wire):
    """Ends a trial whose value leaves given limits."""

    name: Literal["threshold"]
    """Name of the pruner."""
    options: ThresholdOptions
    """Options of the pruner."""


class RungsPruner(Wire):
    """Asynchronous successive halving that resumes: at each rung, a growing number of steps, a trial is paused with its
    checkpoint, and goes on from there when it is the best of those that wait and its share is not used up."""

    name: Literal["rungs"]
    """Name of the pruner."""
    options: RungsOptions = RungsOptions()
    """Options of the pruner."""


Pruner = Annotated[
    NoPruner
    | MedianPruner
    | PercentilePruner
    | SuccessiveHalvingPruner
    | HyperbandPruner
    | PatientPruner
    | ThresholdPruner
    | RungsPruner,
    Field(discriminator="name"),
]
"""Any pruner, told apart by its ``name``."""
