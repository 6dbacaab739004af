"""What ending a trial early, and the trunk cache, have saved of its device seconds."""

from typing import Literal

from service.rung_marks import reported_values_of
from service.search.space.params import trial_params
from service.store.studies import StudyRow
from service.store.trials import FrozenTrial
from spezia.contract.hyperparameters import default_of
from spezia.contract.outcomes import TrialSpeed
from spezia.contract.saved import SavedSeconds


def saved_seconds(
    study: StudyRow, trial: FrozenTrial, state: Literal["COMPLETE", "PRUNED"], speed: TrialSpeed | None
) -> SavedSeconds:
    """Return what a trial has not had to spend that ends as COMPLETE, or that the pruner has ended as PRUNED.

    Args:
        speed: What its worker has measured; ``None``: nothing.
    """
    if speed is None:
        return SavedSeconds()
    not_trained = None
    if speed.seconds_per_epoch is not None and (n_epochs := _epochs_left(study, trial)) > 0:
        not_trained = n_epochs * speed.seconds_per_epoch
    return SavedSeconds(
        pruning=not_trained if state == "PRUNED" else None,
        early_stopping=not_trained if state == "COMPLETE" else None,
        trunk_cache=speed.trunk_seconds,
    )


def _epochs_left(study: StudyRow, trial: FrozenTrial) -> float:
    """Return the epochs that a trial had yet to train at its last evaluation; 0 for a script, which plans none."""
    if study.spec.task == "script":
        return 0.0
    params = trial_params(study.spec, trial.params)
    planned = params.get("epochs", default_of("epochs", params))
    assert isinstance(planned, int)
    return planned - max(reported_values_of(trial), default=0) / study.spec.training.evaluations_per_epoch
