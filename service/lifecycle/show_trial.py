"""GET /v1/studies/{name}/trials: the list, and one in full."""

import math
from datetime import datetime
from typing import Any, Literal, cast

from service.contract.trial import Attempt, Evaluation, PruneDecision, Trial, TrialDetail, TrialList, TrialState
from service.errors import TrialNotFound
from service.lifecycle.explain import best_point, explain, generalization_gap, points
from service.lifecycle.read_token import Place, read_token, write_token
from service.search.space import plain_params, trial_params
from service.store import artifacts, decisions, leases, measurements, studies, trials
from service.store.studies import StudyRow
from service.store.transaction import Store
from service.store.trials import BASELINE, RETRY_OF, FrozenTrial

LOG_TAIL_LINES = 20


def show_trial(store: Store, name: str, number: int) -> TrialDetail:
    """One trial with every evaluation, every attempt and why it failed.

    Raises:
        StudyNotFound: There is no such study.
        TrialNotFound: The study has no trial of this number.
    """
    with store.reading() as tx:
        study = studies.find(tx, name)
        trial = trials.find(tx, study, number)
        if trial is None:
            raise TrialNotFound(name, number)
        decided = decisions.of_trial(tx, study.uuid, number)
        attempts = leases.attempts(tx, study.uuid, "trial", number)
        evaluations = measurements.of_trial(tx, study.uuid, number, attempts[-1].attempt if attempts else 0)
        log = artifacts.last_log(tx, study.uuid, number, LOG_TAIL_LINES) if trials.failure_of(trial) else []
    summary = _describe(study, trial, evaluations[-1] if evaluations else None)
    curve = points(evaluations)
    best = best_point(study.spec, curve) if curve else None
    return TrialDetail(
        **summary.__dict__,
        intermediate_values=[_evaluation(row) for row in evaluations],
        attempts=[_attempt(row) for row in attempts],
        decisions=[_decision(row) for row in decided],
        best_step=best.step if best else None,
        generalization_gap=generalization_gap(best.metrics) if best else None,
        warnings=explain(study.spec, trial_params(study.spec, trial.params), curve),
        log_tail="".join(log).splitlines()[-LOG_TAIL_LINES:],
    )


def list_trials(
    store: Store,
    name: str,
    limit: int,
    page_token: str | None,
    state: str | None,
    order_by: Literal["number", "value"],
) -> TrialList:
    """One page of trials: those that sort behind the last one of the page before, wherever that one is now.

    By value, the best comes first and trials without one come last.

    Raises:
        StudyNotFound: There is no such study.
        Invalid: ``page_token`` is none of ours, or of another order.
    """
    with store.reading() as tx:
        study = studies.find(tx, name)
        sign = 1 if study.spec.direction == "minimize" else -1

        def place(trial: FrozenTrial) -> Place:
            return (_sortable(trial, sign) if order_by == "value" else 0.0, trial.number)

        after = (-math.inf, -1) if page_token is None else read_token(page_token, order_by)
        chosen = [trial for trial in trials.all_of(tx, study) if state in (None, trial.state.name)]
        behind = sorted((trial for trial in chosen if place(trial) > after), key=place)
        page = behind[:limit]
        last = measurements.last_of_study(tx, study.uuid, [trial.number for trial in page])
    return TrialList(
        trials=[_describe(study, trial, last.get(trial.number)) for trial in page],
        next_page_token=write_token(order_by, place(page[-1])) if limit < len(behind) else None,
    )


def read_log(store: Store, name: str, number: int, after: int) -> tuple[str, int]:
    """The trial's log behind piece ``after``, and the number of its last piece.

    Raises:
        StudyNotFound, TrialNotFound: There is no such trial.
    """
    with store.reading() as tx:
        study = studies.find(tx, name)
        if trials.find(tx, study, number) is None:
            raise TrialNotFound(name, number)
        pieces = artifacts.read_log(tx, study.uuid, number, after)
    return "".join(piece.text for piece in pieces), pieces[-1].log_id if pieces else after


def _sortable(trial: FrozenTrial, sign: int) -> float:
    return math.inf if trial.value is None else sign * trial.value


def _describe(study: StudyRow, trial: FrozenTrial, last: Any | None) -> Trial:
    is_current = last is not None and last.step in trial.intermediate_values
    return Trial(
        study=study.name,
        number=trial.number,
        state=cast("TrialState", trial.state.name),
        params=plain_params(trial.params),
        value=trial.value,
        step=last.step if is_current else 0,  # type: ignore[union-attr]
        epoch=last.epoch if is_current else 0.0,  # type: ignore[union-attr]
        failure=trials.failure_of(trial),
        baseline=bool(trial.user_attrs.get(BASELINE)),
        retry_of=trial.user_attrs.get(RETRY_OF),
        started_at=_aware(trial.datetime_start),
        finished_at=_aware(trial.datetime_complete),
    )


def _aware(local: datetime | None) -> datetime | None:
    """Optuna's trials carry naive local times."""
    return None if local is None else local.astimezone()


def _evaluation(row: Any) -> Evaluation:
    return Evaluation(
        step=row.step,
        epoch=row.epoch,
        value=row.value,
        metrics=row.metrics,
        optimizer_steps=row.optimizer_steps,
        should_prune=row.should_prune,
        reason=row.reason,
        reported_at=row.reported_at,
    )


def _decision(row: Any) -> PruneDecision:
    return PruneDecision(**{name: getattr(row, name) for name in PruneDecision.model_fields})


def _attempt(row: Any) -> Attempt:
    return Attempt(
        attempt=row.attempt,
        resumed_from=row.resume_step or 0,
        worker_id=row.worker_id,
        device=row.device,
        started_at=row.started_at,
        ended_at=row.ended_at,
        end=row.end,
        device_seconds=row.device_seconds,
    )
