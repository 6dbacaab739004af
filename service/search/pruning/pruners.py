"""Optuna's pruners by name. Optuna counts steps from 0 and we from 1, so warm-up is one longer here.

A further pruner of Optuna's, such as the Wilcoxon pruner, needs a model of its options in `spezia.contract.pruners`, a
case in `build_pruner` and in `first_step`, and one in `reasons`, which says why it pruned a trial. Which trials it may
compare is decided in `comparable`.
"""

from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    NopPruner,
    PatientPruner,
    PercentilePruner,
    SuccessiveHalvingPruner,
    ThresholdPruner,
)

from service.search.optuna_warnings import ignore_optuna_warnings
from service.search.pruning.percentile import percentile_of
from spezia.contract import pruners
from spezia.contract.hyperparameters import HYPERPARAMETERS
from spezia.contract.ranges import Choices
from spezia.contract.space import each_dimension
from spezia.contract.study_spec import StudySpec


def build_pruner(spec: StudySpec) -> BasePruner:
    """Return the pruner of a study. `should_prune` adds what Optuna's pruners do not know.

    Raises:
        ValueError: Optuna refuses the combination of options.
    """
    match spec.pruner:
        case pruners.NoPruner() | pruners.RungsPruner():  # rungs end nothing: `promotions` says which trials go on
            return NopPruner()
        case pruners.MedianPruner(options=options) | pruners.PercentilePruner(options=options):
            return _percentile(percentile_of(spec.pruner), options)
        case pruners.SuccessiveHalvingPruner(options=options):
            return SuccessiveHalvingPruner(**options.model_dump())
        case pruners.HyperbandPruner(options=options):
            return _hyperband(spec, options)
        case pruners.PatientPruner(options=options):
            with ignore_optuna_warnings():
                return PatientPruner(None, patience=options.patience, min_delta=options.min_delta)
        case pruners.ThresholdPruner(options=options):
            return ThresholdPruner(
                lower=options.lower,
                upper=options.upper,
                n_warmup_steps=options.n_warmup_steps + 1,
                interval_steps=options.interval_steps,
            )


def longest_schedule(spec: StudySpec) -> int:
    """Return the number of evaluations of the longest trial that a study allows."""
    ranges = [one.distribution for one in each_dimension(spec.search_space, "epochs")]
    searched = [choice for one in ranges for choice in (one.choices if isinstance(one, Choices) else [one.high])]
    # where every range of epochs has a condition, trials outside them have the default
    if not searched or all(one.when for one in ranges):
        default = HYPERPARAMETERS["epochs"].default
        assert default is not None
        searched.append(spec.fixed.get("epochs", default))
    return max(map(int, searched)) * spec.training.evaluations_per_epoch


def first_step(pruner: pruners.Pruner) -> int:
    """Return the first evaluation, counted from 1, at which a pruner may end a trial."""
    match pruner:
        case pruners.MedianPruner(options=options) | pruners.PercentilePruner(options=options):
            return options.n_warmup_steps + 1
        case pruners.ThresholdPruner(options=options):
            return options.n_warmup_steps + 1
        case pruners.SuccessiveHalvingPruner(options=options):
            # no trial has 2**60 evaluations, and larger exponents make numbers that fill a page
            return int(options.min_resource * options.reduction_factor ** min(options.min_early_stopping_rate, 60))
        case pruners.HyperbandPruner(options=options):
            return options.min_resource
        case pruners.PatientPruner(options=options):
            # the first evaluation, and one more than the patience without a better one
            return options.patience + 2
        case pruners.RungsPruner(options=options):
            return options.first or 1
        case pruners.NoPruner():
            raise AssertionError("no pruner has no first step")


def _percentile(percentile: float, options: pruners.MedianOptions) -> BasePruner:
    return PercentilePruner(
        percentile,
        # counted over the whole study by should_prune, which hands on only comparable trials
        n_startup_trials=0,
        n_warmup_steps=options.n_warmup_steps + 1,
        interval_steps=options.interval_steps,
        n_min_trials=options.n_min_trials,
    )


def _hyperband(spec: StudySpec, options: pruners.HyperbandOptions) -> BasePruner:
    max_resource = options.max_resource or longest_schedule(spec)
    return HyperbandPruner(
        # Optuna divides by zero when no bracket fits between the two
        min_resource=min(options.min_resource, max_resource),
        max_resource=max_resource,
        reduction_factor=options.reduction_factor,
        bootstrap_count=options.bootstrap_count,
    )
