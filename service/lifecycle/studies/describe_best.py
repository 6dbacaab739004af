"""GET /v1/studies/{name}/best: the answer of a study, with its evidence."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.errors import NoBest
from service.lifecycle.pilots.compare_pilots import compare_small
from service.lifecycle.studies.why_no_best import why_no_best
from service.lifecycle.trials.explain import best_point, explain, generalization_gap, points
from service.search.results.edges import edges
from service.search.results.ranking import leaders, named_values, violations
from service.search.space.space import plain_params, trial_params
from service.store import artifacts, leases, measurements, studies, trials
from service.store.artifacts import KeptModel
from service.store.store import Store
from service.store.studies import StudyRow
from service.store.transaction import Transaction
from service.store.trials import BASELINE, FrozenTrial
from spezia.contract.best_trial import Baseline, BestTrial, ParetoFront
from spezia.contract.hyperparameters import HYPERPARAMETERS, default_of
from spezia.contract.schedules import schedule_arguments
from spezia.contract.start_small import SmallRuns
from spezia.contract.study import TrialCounts

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


def best(store: Store, folder: Path, name: str) -> BestTrial | ParetoFront:
    """Describe the best COMPLETE trial and what it is worth; of several objectives, those of the Pareto front.

    Raises:
        StudyNotFound: There is no such study.
        NoBest: No trial has completed, or none meets the constraints, with the reason.
    """
    with store.reading() as tx:
        study = studies.find(tx, name)
        seen = trials.all_of(tx, study)
        found = leaders(seen, study.spec)
        if not found:
            raise NoBest(why_no_best(study, seen))
        around = _look_around(tx, study, seen, found)
        described = [_describe(tx, folder, around, leader) for leader in found]
    return described[0] if len(study.spec.objectives) == 1 else ParetoFront(study=study.name, pareto=described)


@dataclass(frozen=True, kw_only=True)
class _Around:
    """What is said of each leader alike."""

    study: StudyRow
    baseline: Baseline | None
    counts: TrialCounts
    device_seconds: float
    start_small: SmallRuns | None
    models: dict[int, KeptModel]
    warnings: list[str]


def _look_around(tx: Transaction, study: StudyRow, seen: list[FrozenTrial], found: list[FrozenTrial]) -> _Around:
    trial = next((trial for trial in seen if trial.user_attrs.get(BASELINE)), None)
    return _Around(
        study=study,
        baseline=None if trial is None else _baseline(study, trial),
        counts=trials.counts(tx, study),
        device_seconds=leases.device_seconds(tx, study.uuid),
        start_small=compare_small(tx, study, seen),
        models=artifacts.kept_models(tx, study.uuid),
        warnings=[*study.warnings, *_warnings(study, found, trial)],
    )


def _describe(tx: Transaction, folder: Path, around: _Around, leader: FrozenTrial) -> BestTrial:
    study, spec = around.study, around.study.spec
    reported = measurements.of_last_attempt(tx, study.uuid, leader.number)
    row = best_point(spec, points(reported))
    values = named_values(leader, spec)
    improvements = None if around.baseline is None else _improvements(study, around.baseline, values)
    model = around.models.get(leader.number)
    path = f"/v1/studies/{study.name}"
    return BestTrial(
        study=study.name,
        number=leader.number,
        value=values[spec.metric],
        metric=spec.metric,
        values=values,
        params=plain_params(leader.params),
        metrics=row.metrics | (study.test_metrics or {}),
        step=row.step,
        epoch=row.epoch,
        baseline=around.baseline,
        improvement=improvements[spec.metric] if improvements else None,
        improvements=improvements,
        trials=around.counts,
        device_seconds=around.device_seconds,
        model=None if model is None else path + _model_path(study, leader.number),
        model_directory=None if model is None else str(folder / model.lease_id),
        training_arguments=_training_arguments(study, leader),
        generalization_gap=generalization_gap(row.metrics),
        start_small=around.start_small,
        warnings=[*around.warnings, *_advice(around, leader, reported)],
    )


def _model_path(study: StudyRow, number: int) -> str:
    return "/best/model" if len(study.spec.objectives) == 1 else f"/trials/{number}/artifacts"


def _baseline(study: StudyRow, trial: FrozenTrial) -> Baseline:
    values = named_values(trial, study.spec)
    return Baseline(value=values.get(study.spec.metric), params=plain_params(trial.params), values=values)


def _improvements(study: StudyRow, baseline: Baseline, values: dict[str, float]) -> dict[str, float] | None:
    """``None`` while the baseline has no values."""
    signs = {one.metric: one.sign for one in study.spec.objectives}
    return {
        metric: signs[metric] * value - signs[metric] * values[metric] for metric, value in baseline.values.items()
    } or None


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


def _warnings(study: StudyRow, found: list[FrozenTrial], baseline: FrozenTrial | None) -> list[str]:
    warnings = []
    if baseline is not None and baseline.state.name != "COMPLETE":
        warnings.append("the baseline did not complete, so what the search gained over it is unknown")
    elif baseline is not None and (missed := violations(baseline)):
        warnings.append(f"the baseline does not meet {', '.join(missed)}")
    elif baseline is not None and all(leader.values == baseline.values for leader in found):
        warnings.append("no trial beat the baseline: the defaults are the answer so far")
    if not study.has_ended:
        warnings.append(f"the study is {study.state}: this is the best so far")
    return warnings


def _advice(around: _Around, leader: FrozenTrial, reported: list[Any]) -> list[str]:
    """What the leader's curves say, and where its params stopped."""
    study = around.study
    params = trial_params(study.spec, leader.params)
    advice = explain(study.spec, params, points(reported))
    is_early = around.counts.complete < _MIN_TRIALS_FOR_EDGES
    return advice if is_early else [*advice, *edges(study.spec, params, study.facts)]
