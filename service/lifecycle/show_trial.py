"""GET /v1/studies/{name}/trials: the list, and one in full."""

import math
from datetime import datetime
from typing import Any, Literal, cast

from service.contract.trial import Attempt, Evaluation, Trial, TrialDetail, TrialList, TrialState
from service.errors import TrialNotFound
from service.lifecycle.explain import best_point, explain, generalization_gap, points
from service.search.space import plain_params, trial_params
from service.store import artifacts, leases, measurements, studies, trials
from service.store.studies import StudyRow
from service.store.transaction import Store
from service.store.trials import BASELINE, FrozenTrial

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
        best_step=best.step if best else None,
        generalization_gap=generalization_gap(best.metrics) if best else None,
        warnings=explain(study.spec, trial_params(study.spec, trial.params), curve),
        log_tail="".join(log).splitlines()[-LOG_TAIL_LINES:],
    )


def list_trials(
    store: Store,
    name: str,
    limit: int,
    page_token: int | None,
    state: str | None,
    order_by: Literal["number", "value"],
) -> TrialList:
    """One page of trials; ``page_token`` is the number of the last trial of the page before.

    By value, the best comes first and trials without one come last.
    """
    with store.reading() as tx:
        study = studies.find(tx, name)
        chosen = [trial for trial in trials.all_of(tx, study) if state in (None, trial.state.name)]
        if order_by == "value":
            sign = 1 if study.spec.direction == "minimize" else -1
            chosen.sort(key=lambda trial: (_sortable(trial, sign), trial.number))
        numbers = [trial.number for trial in chosen]
        start = numbers.index(page_token) + 1 if page_token in numbers else 0
        page = chosen[start : start + limit]
        last = measurements.last_of_study(tx, study.uuid, [trial.number for trial in page])
    return TrialList(
        trials=[_describe(study, trial, last.get(trial.number)) for trial in page],
        next_page_token=str(page[-1].number) if start + limit < len(chosen) else None,
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
