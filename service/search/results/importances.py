"""Importances of hyperparameters, by Optuna's evaluators, on a snapshot of a study."""

import copy
import math
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Literal

import optuna
from optuna.pruners import NopPruner
from optuna.samplers import RandomSampler
from optuna.trial import FrozenTrial, TrialState

from service.search.optuna_warnings import ignore_optuna_warnings
from service.search.snapshot_storage import SnapshotStorage, running_trial
from spezia.common.lazy_module import LazyModule
from spezia.contract.study_spec import StudySpec

optuna_importance = LazyModule("optuna.importance")
"""It loads scikit-learn, which takes half as long as all the rest of the service."""

Evaluator = Literal["ped-anova", "fanova"]

MIN_TRIALS = 4
"""Number of COMPLETE trials that are needed. PED-ANOVA compares the best tenth, at least two, with all (Watanabe et
al., IJCAI 2023).
"""


class NoImportances(ValueError):
    """Importances cannot be computed; the message says why."""


def importances(
    spec: StudySpec, trials: Sequence[FrozenTrial], evaluator: Evaluator, objective: int
) -> dict[str, float]:
    """Return the importance of each searched param, summing to 1, the greatest first.

    Args:
        objective: Index of the objective that the params are to have mattered for.

    Raises:
        NoImportances: There are too few trials, or they do not differ, or a package is missing.
    """
    if evaluator == "fanova" and find_spec("sklearn") is None:
        raise NoImportances("fanova needs scikit-learn beside the service: pip install scikit-learn, or use ped-anova")
    complete = [of_one(trial, objective) for trial in trials if trial.state == TrialState.COMPLETE]
    complete = [trial for trial in complete if _is_finite(trial)]
    if len(complete) < MIN_TRIALS:
        raise NoImportances(f"{MIN_TRIALS} COMPLETE trials are needed, there are {len(complete)}")
    if len({trial.value for trial in complete}) == 1:
        raise NoImportances("all trials have the same value, so no parameter has mattered yet")
    storage = SnapshotStorage(
        study_name="importances",
        directions=[spec.directions[objective]],
        trials=complete,
        own=running_trial(1 + max(trial.number for trial in complete), {}),
        study_system_attrs={},
    )
    study = optuna.load_study(study_name="importances", storage=storage, sampler=RandomSampler(), pruner=NopPruner())
    with ignore_optuna_warnings():
        # seeded, so that asking twice shows the same
        fanova = optuna_importance.FanovaImportanceEvaluator(seed=spec.seed) if evaluator == "fanova" else None
        chosen = fanova or optuna_importance.PedAnovaImportanceEvaluator()
        found = optuna_importance.get_param_importances(study, evaluator=chosen, params=varied(spec, complete))
    return {name: float(share) for name, share in found.items()}


def of_one(trial: FrozenTrial, objective: int) -> FrozenTrial:
    """Return a trial as if it had this one value."""
    if len(trial.values) == 1:
        return trial
    one = copy.copy(trial)
    one.values = [trial.values[objective]]
    return one


def _is_finite(trial: FrozenTrial) -> bool:
    return trial.value is not None and math.isfinite(trial.value)


def varied(spec: StudySpec, complete: Sequence[FrozenTrial]) -> list[str]:
    """Return the searched params that every trial has: one with a condition (``when``) cannot be given a share."""
    return [name for name in spec.search_space if all(name in trial.params for trial in complete)]
