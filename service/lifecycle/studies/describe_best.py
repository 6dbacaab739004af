"""Describe the answer of a study, with its evidence (GET /v1/studies/{name}/best)."""

from dataclasses import dataclass
from typing import Any

from service.errors import NoBest
from service.files.files import Files
from service.files.stored_file import lease_folder
from service.lifecycle.confirmation.conclude import show_confirmation
from service.lifecycle.confirmation.winner import confirmed_leaders
from service.lifecycle.pilots.compare_pilots import compare_pilots
from service.lifecycle.studies.advise import Advised, Adviser
from service.lifecycle.studies.budgets import why_none_completed
from service.lifecycle.studies.state_machine import search_has_ended
from service.lifecycle.studies.training_arguments import training_arguments
from service.search.results.edges import edges
from service.search.results.explain import explain
from service.search.results.learning_curve import Point, best_point, generalization_gap, points
from service.search.results.ranking import named_values, nearest_miss, violations
from service.search.space.params import plain_params, trial_params
from service.store import artifacts, attempts, measurements, studies, study_summaries, trials
from service.store.artifacts import KeptModel
from service.store.store import Store
from service.store.studies import StudyRow
from service.store.transaction import Transaction
from service.store.trials import FrozenTrial
from spezia.contract.best_trial import Baseline, BestTrial, ParetoFront
from spezia.contract.confirm import Confirmation
from spezia.contract.objectives import CACHED_ROWS
from spezia.contract.saved import SavedSeconds
from spezia.contract.start_small import SmallRuns
from spezia.contract.study import TrialCounts

_MIN_TRIALS_FOR_EDGES = 5
"""Fewer COMPLETE trials say nothing about where in a range the best lies."""


def describe_best(store: Store, files: Files, name: str) -> BestTrial | ParetoFront:
    """Describe the best COMPLETE trial and what it is worth; of several objectives, those of the Pareto front.

    Raises:
        StudyNotFound: There is no such study.
        NoBest: No trial has completed, or none meets the constraints, with the reason.
    """
    with store.reading() as tx:
        study = studies.find(tx, name)
        seen = trials.all_of(tx, study)
        found = confirmed_leaders(tx, study)
        if not found:
            raise NoBest(_why_no_best(study, seen))
        around = _look_around(tx, study, seen, found)
        described = [_describe(tx, files, around, leader) for leader in found]
    return described[0] if len(study.spec.objectives) == 1 else ParetoFront(study=study.name, pareto=described)


def _why_no_best(study: StudyRow, seen: list[FrozenTrial]) -> str:
    """Say what is missing: a trial that has completed, or one that meets the constraints."""
    missed = nearest_miss(seen)
    if missed is not None:
        number, by = missed
        limits = ", ".join(f"{name} by {excess:.4g}" for name, excess in by.items())
        return (
            f"no COMPLETE trial of study {study.name!r} meets its constraints; the nearest is trial {number}, which "
            f"misses {limits}. Raise n_trials, or post a new study with wider constraints"
        )
    if study.failure is not None:
        return f"study {study.name!r} failed before a trial completed: {study.failure.message}"
    if study.has_ended:
        reason = why_none_completed(seen) or "no trial completed"
        return f"study {study.name!r} ended as {study.state}, and {reason}"
    return f"no trial of study {study.name!r} has completed yet; ask again later"


@dataclass(frozen=True, kw_only=True)
class _Around:
    """What is said of each leader alike, whether there is one or a Pareto front."""

    study: StudyRow
    baseline: Baseline | None
    counts: TrialCounts
    device_seconds: float
    saved_seconds: SavedSeconds
    start_small: SmallRuns | None
    confirmation: Confirmation | None
    models: dict[int, KeptModel]
    adviser: Adviser
    warnings: list[str]


def _look_around(tx: Transaction, study: StudyRow, seen: list[FrozenTrial], found: list[FrozenTrial]) -> _Around:
    # among the first ones, where there is one
    trial = next((trial for trial in seen if trials.is_baseline(trial)), None) if study.spec.baseline else None
    return _Around(
        study=study,
        baseline=None if trial is None else _baseline(study, trial),
        counts=trials.counts(tx, study),
        device_seconds=attempts.device_seconds(tx, study.uuid),
        saved_seconds=study_summaries.saved_seconds(tx, study.uuid),
        start_small=compare_pilots(tx, study, seen),
        confirmation=show_confirmation(tx, study, search_has_ended=search_has_ended(tx, study)),
        models=artifacts.kept_models(tx, study.uuid),
        adviser=Adviser(study.spec),
        warnings=[*study.warnings, *_warnings(study, found, trial)],
    )


def _describe(tx: Transaction, files: Files, around: _Around, leader: FrozenTrial) -> BestTrial:
    study, spec = around.study, around.study.spec
    reported = measurements.of_last_attempt(tx, study.uuid, leader.number)
    values = named_values(leader, spec)
    # one that another program has added was told its values alone
    told = Point(step=0, epoch=0.0, value=values[spec.metric], metrics=values)
    row = best_point(spec, points(reported) or [told])
    improvements = None if around.baseline is None else _improvements(study, around.baseline, values)
    model = around.models.get(leader.number)
    directory = None if model is None else files.local_folder(lease_folder(model.lease_id))
    path = f"/v1/studies/{study.name}"
    advised = _advise(around, leader, reported)
    return BestTrial(
        study=study.name,
        number=leader.number,
        value=values[spec.metric],
        metric=spec.metric,
        values=values,
        params=plain_params(leader.params),
        taken_from=trials.taken_from(leader),
        metrics={name: value for name, value in row.metrics.items() if name != CACHED_ROWS}
        | (study.test_metrics or {}),
        step=row.step,
        epoch=row.epoch,
        baseline=around.baseline,
        improvement=improvements[spec.metric] if improvements else None,
        improvements=improvements,
        trials=around.counts,
        device_seconds=around.device_seconds,
        saved_seconds=around.saved_seconds,
        model=None if model is None else path + _model_path(study, leader.number),
        model_directory=None if directory is None else str(directory),
        training_arguments=training_arguments(study, leader),
        generalization_gap=generalization_gap(row.metrics),
        start_small=around.start_small,
        confirmation=around.confirmation,
        warnings=[*around.warnings, *(str(one.finding) for one in advised)],
        advice=[one.advice for one in advised if one.advice is not None],
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


def _advise(around: _Around, leader: FrozenTrial, reported: list[Any]) -> list[Advised]:
    """What the leader's curves say, and where its params stopped."""
    study = around.study
    params = trial_params(study.spec, leader.params)
    findings = explain(study.spec, params, points(reported), study.facts)
    is_early = around.counts.complete < _MIN_TRIALS_FOR_EDGES
    return around.adviser.on_trial(findings if is_early else [*findings, *edges(study.spec, params, study.facts)])
