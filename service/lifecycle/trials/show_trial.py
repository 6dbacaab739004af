"""Show one trial in full (GET /v1/studies/{name}/trials/{number})."""

from typing import Any

from service.lifecycle.studies.advise import Adviser
from service.lifecycle.trials.describe_trial import describe_trial
from service.lifecycle.trials.find_trial import find_trial
from service.search.results.evenly_spread import evenly_spread
from service.search.results.explain import explain
from service.search.results.learning_curve import best_point, generalization_gap, points
from service.search.space.params import trial_params
from service.store import attempts, decisions, measurements, studies, trial_logs, trials
from service.store.store import Store
from spezia.contract.curves import MAX_POINTS
from spezia.contract.trial import Attempt, Evaluation, PruneDecision, TrialDetail

LOG_TAIL_LINES = 20
"""How many of the last lines of its log a failed trial shows."""


def show_trial(store: Store, name: str, number: int) -> TrialDetail:
    """Describe one trial with its evaluations, as many of them as a curve shows, every attempt and why it failed.

    Raises:
        StudyNotFound: There is no such study.
        TrialNotFound: The study has no trial of this number.
    """
    with store.reading() as tx:
        study = studies.find(tx, name)
        trial = find_trial(tx, study, number)
        decided = decisions.of_trial(tx, study.uuid, number)
        past = attempts.history(tx, study.uuid, "trial", number)
        of_attempt = study.uuid, number, past[-1].attempt if past else 0
        shown = set(evenly_spread(measurements.steps_of_attempt(tx, *of_attempt), MAX_POINTS))
        best_step = measurements.best_step_of_attempt(tx, *of_attempt, study.spec.direction)
        evaluations = measurements.at_steps(tx, *of_attempt, shown | ({best_step} if best_step else set()))
        log = trial_logs.last(tx, study.uuid, number, LOG_TAIL_LINES) if trials.failure_of(trial) else []
    summary = describe_trial(study, trial, evaluations[-1] if evaluations else None)
    curve = points(evaluations)
    best = best_point(study.spec, curve) if curve else None
    findings = explain(study.spec, trial_params(study.spec, trial.params), curve, study.facts)
    advised = Adviser(study.spec).on_trial(findings) if findings else []
    return TrialDetail(
        **summary.__dict__,
        intermediate_values=[describe_evaluation(row) for row in evaluations],
        attempts=[_attempt(row) for row in past],
        decisions=[describe_decision(row) for row in decided],
        best_step=best.step if best else None,
        generalization_gap=generalization_gap(best.metrics) if best else None,
        warnings=[str(one.finding) for one in advised],
        advice=[one.advice for one in advised if one.advice is not None],
        log_tail="".join(log).splitlines()[-LOG_TAIL_LINES:],
    )


def describe_evaluation(row: Any) -> Evaluation:
    """Describe a row of `measurement` as people see it."""
    return Evaluation(
        step=row.step,
        epoch=row.epoch,
        value=row.value,
        metrics=row.metrics,
        optimizer_steps=row.optimizer_steps,
        partial=row.partial,
        should_prune=row.should_prune,
        reason=row.reason,
        reported_at=row.reported_at,
    )


def describe_decision(row: Any) -> PruneDecision:
    """Describe a row of `decision` as people see it."""
    return PruneDecision(**{name: getattr(row, name) for name in PruneDecision.model_fields})


def _attempt(row: Any) -> Attempt:
    return Attempt(
        attempt=row.attempt,
        resumed_from=row.resume_step or 0,
        worker_id=row.worker_id,
        device=row.device,
        versions=row.versions or {},
        started_at=row.started_at,
        ended_at=row.ended_at,
        end=row.end,
        device_seconds=row.device_seconds,
    )
