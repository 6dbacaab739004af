"""Describe a trial in short, as lists show it."""

from datetime import datetime
from typing import Any, cast

from service.rung_marks import reported_values_of
from service.search.results.ranking import first_value, named_values, violations
from service.search.space.params import plain_params
from service.store import trials
from service.store.studies import StudyRow
from service.store.trials import RETRY_OF, FrozenTrial
from spezia.contract.trial import Trial, TrialState


def describe_trial(study: StudyRow, trial: FrozenTrial, last: Any | None) -> Trial:
    """Describe a trial as lists show it; ``last`` is its last row of `measurement`, if it has one."""
    is_current = last is not None and last.step in reported_values_of(trial)
    return Trial(
        study=study.name,
        number=trial.number,
        state=cast("TrialState", trial.state.name),
        params=plain_params(trial.params),
        value=first_value(trial),
        values=named_values(trial, study.spec),
        violations=violations(trial),
        step=last.step if is_current else 0,  # type: ignore[union-attr]
        epoch=last.epoch if is_current else 0.0,  # type: ignore[union-attr]
        failure=trials.failure_of(trial),
        paused=trials.paused_at(trial),
        baseline=trials.is_baseline(trial),
        retry_of=trial.user_attrs.get(RETRY_OF),
        taken_from=trials.taken_from(trial),
        started_at=_aware(trial.datetime_start),
        finished_at=_aware(trial.datetime_complete),
    )


def _aware(local: datetime | None) -> datetime | None:
    """Optuna's trials carry naive local times."""
    return None if local is None else local.astimezone()
