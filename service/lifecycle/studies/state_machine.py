"""What follows from a trial's end: whether the study goes on, has failed, or is done."""

import math
from datetime import timedelta

from service.lifecycle.studies.reserve import reserve
from service.search.results.ranking import best_trial, first_value
from service.store import leases, studies, trials
from service.store.studies import StudyRow
from service.store.transaction import Transaction
from service.store.trials import FrozenTrial
from spezia.contract.failure import Failure
from spezia.contract.study import StudyState

MIN_FAILURES = 5
FAILURE_SHARE = 0.2
"""A study stops after max(5, 20 %) failures of one class: what breaks that often will break again."""


def settle(tx: Transaction, study: StudyRow) -> StudyRow:
    """Move a locked study on as far as its trials allow; called at the end of every change to them."""
    if study.has_ended:
        return study
    study = _enforce_limits(tx, study)
    counts = trials.counts(tx, study)
    n_finished = counts.complete + counts.pruned + counts.fail
    all_done = study.facts is not None and n_finished >= study.spec.n_trials
    if counts.running or not (all_done or study.state == "stopping"):
        return study
    if leases.of_study(tx, study.uuid) or needs_score(tx, study):
        return study
    return _end(tx, study)


def begin_stopping(tx: Transaction, study: StudyRow, ending: StudyState, failure: Failure | None = None) -> StudyRow:
    """No trial starts any more; waiting ones end as cancelled, running ones are left to their workers."""
    cancelled = Failure(failure_class="cancelled", message="the study was ended before this trial began")
    for trial in trials.all_of(tx, study):
        if trial.state.name == "WAITING":
            trials.finish(tx, study, trial, "FAIL", None, cancelled)
    return studies.change(tx, study, state="stopping", ending=ending, failure=failure)


def needs_score(tx: Transaction, study: StudyRow) -> bool:
    """Whether the winner has yet to meet the locked test split; of several objectives there is no winner."""
    has_test = study.spec.data is not None and study.spec.data.test is not None
    if len(study.spec.objectives) > 1 or study.is_scored or not has_test or study.ending in ("cancelled", "failed"):
        return False
    return best_trial(trials.all_of(tx, study), study.spec) is not None


def _enforce_limits(tx: Transaction, study: StudyRow) -> StudyRow:
    if study.state == "stopping":
        return study
    failures = trials.failures_by_class(tx, study).most_common(1)
    limit = max(MIN_FAILURES, math.ceil(FAILURE_SHARE * study.spec.n_trials))
    if failures and failures[0][1] >= limit:
        return begin_stopping(tx, study, "failed", _too_many(failures[0], trials.all_of(tx, study)))
    return begin_stopping(tx, study, "complete") if spent_budget(tx, study) else study


def spent_budget(tx: Transaction, study: StudyRow) -> str | None:
    """Say which budget allows no more trials and what to do; ``None`` while all of them do."""
    best = None if study.spec.target_value is None else best_trial(trials.all_of(tx, study), study.spec)
    if best is not None and _reaches(study, first_value(best)):
        return f"trial {best.number} has reached target_value; post a new study with another target"
    if is_overdue(tx, study):
        return "its timeout_seconds are over; raise them too"
    if reserve(tx, study) == 0 and not leases.of_study(tx, study.uuid):
        return "what is left of its device_seconds does not do for one more trial; raise them too"
    return None


def is_overdue(tx: Transaction, study: StudyRow) -> bool:
    """Whether the study's time is over."""
    timeout = study.spec.timeout_seconds
    return timeout is not None and tx.now >= study.created_at + timedelta(seconds=timeout)


def _reaches(study: StudyRow, value: float | None) -> bool:
    target = study.spec.target_value
    if target is None or value is None:
        return False
    return value <= target if study.spec.direction == "minimize" else value >= target


def _end(tx: Transaction, study: StudyRow) -> StudyRow:
    seen = trials.all_of(tx, study)
    ending, failure = study.ending or "complete", study.failure
    failures = trials.failures_by_class(tx, study).most_common(1)
    if ending == "complete" and failures and all(trial.state.name == "FAIL" for trial in seen):
        ending, failure = "failed", _too_many(failures[0], seen)
    return studies.change(tx, study, state=ending, ending=None, failure=failure, finished_at=tx.now)


def _too_many(most: tuple[str, int], seen: list[FrozenTrial]) -> Failure:
    failure_class, count = most
    last = [
        failure
        for failure in map(trials.failure_of, seen)
        if failure is not None and failure.failure_class == failure_class
    ][-1]
    return last.model_copy(
        update={"message": f"{count} of {len(seen)} trials failed as {failure_class}; the last: {last.message}"}
    )
