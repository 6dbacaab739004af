"""GET /v1/studies/{name}/best: the answer of a study, with its evidence."""

import math
from pathlib import Path
from typing import Any

from service.contract.hyperparameters import HYPERPARAMETERS, default_of, schedule_arguments
from service.contract.study import Baseline, BestTrial
from service.errors import NoBest
from service.lifecycle.compare_small import compare_small
from service.lifecycle.explain import best_point, explain, generalization_gap, points
from service.lifecycle.model_directory import model_directory
from service.search.best import best_trial
from service.search.edges import edges
from service.search.space import plain_params, trial_params
from service.store import leases, measurements, studies, trials
from service.store.studies import StudyRow
from service.store.transaction import Store, Transaction
from service.store.trials import BASELINE, FrozenTrial

_MIN_TRIALS_FOR_EDGES = 5
"""Fewer COMPLETE trials say nothing about where in a range the best lies."""

_TRAINING_ARGUMENTS = {
    "learning_rate": "learning_rate",
    "batch_size": "per_device_train_batch_size",
    "epochs": "num_train_epochs",
    "weight_decay": "weight_decay",
    "lr_schedule": "lr_scheduler_type",
    "label_smoothing": "label_smoothing_factor",
    "max_grad_norm": "max_grad_norm",
    "adam_beta2": "adam_beta2",
    "gradient_checkpointing": "gradient_checkpointing",
    "warmup_ratio": "warmup_steps",  # transformers 5 reads a number below 1 as a share of all steps
}


def best(store: Store, folder: Path, name: str) -> BestTrial:
    """Describe the best COMPLETE trial and what it is worth.

    Raises:
        StudyNotFound: There is no such study.
        NoBest: No trial has completed, with the reason.
    """
    with store.reading() as tx:
        study = studies.find(tx, name)
        seen = trials.all_of(tx, study)
        winner = best_trial(seen, study.spec.direction)
        if winner is None:
            raise NoBest(_why_none(study))
        return _describe(tx, folder, study, seen, winner)


def _describe(
    tx: Transaction, folder: Path, study: StudyRow, seen: list[FrozenTrial], winner: FrozenTrial
) -> BestTrial:
    assert winner.value is not None
    reported = measurements.of_last_attempt(tx, study.uuid, winner.number)
    row = best_point(study.spec, points(reported))
    baseline = _baseline(seen)
    directory = model_directory(tx, folder, study)
    return BestTrial(
        study=study.name,
        number=winner.number,
        value=winner.value,
        metric=study.spec.objective.metric,
        params=plain_params(winner.params),
        metrics=row.metrics | (study.test_metrics or {}),
        step=row.step,
        epoch=row.epoch,
        baseline=baseline,
        improvement=None if baseline is None else _improvement(baseline, winner.value),
        trials=trials.counts(tx, study),
        device_seconds=leases.device_seconds(tx, study.uuid),
        model=None if directory is None else f"/v1/studies/{study.name}/best/model",
        model_directory=None if directory is None else str(directory),
        training_arguments=_training_arguments(study, winner),
        generalization_gap=generalization_gap(row.metrics),
        start_small=compare_small(tx, study, seen),
        warnings=[*study.warnings, *_warnings(study, seen, winner, baseline), *_advice(study, seen, winner, reported)],
    )


def _why_none(study: StudyRow) -> str:
    if study.failure is not None:
        return f"study {study.name!r} failed before a trial completed: {study.failure.message}"
    if study.has_ended:
        return f"study {study.name!r} ended as {study.state} and no trial completed"
    return f"no trial of study {study.name!r} has completed yet; ask again later"


def _baseline(seen: list[FrozenTrial]) -> Baseline | None:
    trial = next((trial for trial in seen if trial.user_attrs.get(BASELINE)), None)
    if trial is None:
        return None
    return Baseline(value=trial.value if trial.state.name == "COMPLETE" else None, params=plain_params(trial.params))


def _improvement(baseline: Baseline, value: float) -> float | None:
    return None if baseline.value is None else abs(baseline.value - value)


def _training_arguments(study: StudyRow, winner: FrozenTrial) -> dict[str, Any]:
    if study.spec.task == "script":
        return {}
    chosen = trial_params(study.spec, winner.params)
    params: dict[str, Any] = {name: default_of(name, chosen) for name in HYPERPARAMETERS} | chosen
    arguments: dict[str, Any] = {theirs: params[ours] for ours, theirs in _TRAINING_ARGUMENTS.items()}
    assert study.facts is not None
    n_steps = math.ceil(study.facts.train_rows / int(params["batch_size"])) * int(params["epochs"])
    given = schedule_arguments(str(params["lr_schedule"]), n_steps, float(params["warmup_ratio"]))
    return arguments | ({"lr_scheduler_kwargs": given} if given else {}) | {"seed": study.spec.seed}


def _warnings(study: StudyRow, seen: list[FrozenTrial], winner: FrozenTrial, baseline: Baseline | None) -> list[str]:
    warnings = []
    if baseline is not None and baseline.value is None:
        warnings.append("the baseline did not complete, so what the search gained over it is unknown")
    elif baseline is not None and baseline.value == winner.value:
        warnings.append("no trial beat the baseline: the defaults are the answer so far")
    if not study.has_ended:
        warnings.append(f"the study is {study.state}: this is the best so far")
    return warnings


def _advice(study: StudyRow, seen: list[FrozenTrial], winner: FrozenTrial, reported: list[Any]) -> list[str]:
    """What the winner's curves say, and where its params stopped."""
    params = trial_params(study.spec, winner.params)
    advice = explain(study.spec, params, points(reported))
    n_complete = sum(trial.state.name == "COMPLETE" for trial in seen)
    return advice if n_complete < _MIN_TRIALS_FOR_EDGES else [*advice, *edges(study.spec, params, study.facts)]
