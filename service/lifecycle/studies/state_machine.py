"""The state machine of a study: what people ask for, and what follows when trials end.

                       pause
        ┌─────────┐ ──────────▶ ┌────────┐
    ───▶│ running │             │ paused │
        └─────────┘ ◀────────── └────────┘
          ▲    │      resume        │
          │    ├────────────────────┘
          │    │ stop, cancel, a spent budget, too many failures, hopeless pilots
          │    ▼
          │   ┌──────────┐
          │   │ stopping │ `ending` says what the study will be
          │   └──────────┘
          │    │ no trial runs any more, and the winner has been confirmed and scored
          │    ▼
          │   ┌─────────────────────────────────┐
          │   │  complete   cancelled   failed  │ reached from running or paused without a stop in between
          │   └─────────────────────────────────┘ when all trials have ended, or when `prepare` has failed
          │        │            │
          └────────┴────────────┘ reopen: a budget was raised, or a trial was added

Each of these changes holds the lock of the study, and each change to its trials ends with `settle`.
"""

import math
from collections import Counter

from service.errors import StudyEnded
from service.lease_and_heartbeat_terms import SCORE_WAIT_SECONDS
from service.lifecycle.confirmation.conclude import conclude
from service.lifecycle.confirmation.start_run import awaits_runs
from service.lifecycle.studies.budgets import is_overdue, is_score_overdue, spent_budget, why_none_completed
from service.lifecycle.studies.device_budget import is_used_up
from service.lifecycle.studies.rungs import are_over, drop_paused, end_paused
from service.lifecycle.studies.summarise import summarise
from service.search.results.ranking import best_trial
from service.store import confirm_runs, leases, studies, trials
from service.store.store import Store
from service.store.studies import StudyRow
from service.store.transaction import Transaction
from service.store.trials import FrozenTrial
from spezia.common.plural import plural
from spezia.contract.failure import Failure
from spezia.contract.study import StudyState

MIN_FAILURES = 5
FAILURE_SHARE = 0.2
"""A study stops after `MIN_FAILURES` failures of one class, or this share of its trials if that is more: what breaks
so often will break again."""

_TEST_SPLIT_WAS_USED = (
    "the study was extended after its winner had been scored on the test split: that split is no longer unseen, "
    "so a later score proves less"
)

_NOBODY_SCORED = (
    "the winner was not scored on the test split: its timeout_seconds were up, and no worker came for it within "
    f"{SCORE_WAIT_SECONDS:g} s"
)


def pause(store: Store, name: str) -> None:
    """Start no more trials of a running study, and let its running ones go on; repeating is harmless.

    While it is paused its clock stands: the pause does not count against its ``timeout_seconds``.

    Raises:
        StudyNotFound: There is no study of this name.
        StudyEnded: The study has ended or is stopping.
    """
    with store.writing() as tx:
        study = _lock_open(tx, name, "only a running study can be paused")
        studies.change(tx, study, state="paused")


def resume(store: Store, name: str) -> None:
    """Start trials of a paused study again; repeating is harmless.

    Raises:
        StudyNotFound: There is no study of this name.
        StudyEnded: The study has ended or is stopping.
    """
    with store.writing() as tx:
        study = _lock_open(tx, name, "only a paused study can be resumed")
        settle(tx, studies.change(tx, study, state="running"))


def stop(store: Store, name: str) -> None:
    """Start no more trials, and end the study when its running ones have ended; repeating is harmless.

    Nor does any run start that would confirm the winner: the confirmation stays incomplete.

    Raises:
        StudyNotFound: There is no study of this name.
    """
    with store.writing() as tx:
        study = studies.lock(tx, name)
        if study.has_ended:
            return
        if _awaits_confirmation(study):
            study = conclude(tx, study, "the study was stopped")
        settle(tx, study if study.state == "stopping" else begin_stopping(tx, study, "complete"))


def cancel(store: Store, name: str) -> None:
    """Start no more trials and tell running ones to end; their workers hear of it within one heartbeat.

    Repeating is harmless; a study that is already stopping is cancelled all the same.

    Raises:
        StudyNotFound: There is no study of this name.
    """
    with store.writing() as tx:
        study = studies.lock(tx, name)
        if not study.has_ended:
            settle(tx, begin_stopping(tx, study, "cancelled"))


def reopen(tx: Transaction, study: StudyRow) -> StudyRow:
    """Let a locked study start more trials; one that has not ended is returned as it is.

    Its winner's score on the test split stands until a trial starts, as none may.

    Raises:
        StudyEnded: The study is stopping, has failed, or has used up a budget; the reason says what to do.
    """
    if study.state in ("running", "paused"):
        return study
    if study.state == "stopping":
        raise StudyEnded(f"study {study.name!r} is stopping; try again when its running trials have ended")
    if study.state == "failed":
        raise StudyEnded(
            f"study {study.name!r} has failed, and would fail again; correct the cause and post a new study"
        )
    if reason := spent_budget(tx, study):
        raise StudyEnded(f"study {study.name!r} cannot go on: {reason}")
    return _running(tx, study)


def resume_confirmation(tx: Transaction, study: StudyRow) -> StudyRow:
    """Let a locked study that has ended make the runs that its confirmation lacks, and begin no trial.

    Raises:
        StudyEnded: A limit leaves no room for them; the reason says which.
    """
    if reason := _why_not_confirmed(tx, study):
        raise StudyEnded(f"the winner of study {study.name!r} cannot be confirmed: {reason}; raise that limit too")
    return _running(tx, drop_score(tx, study))


def drop_score(tx: Transaction, study: StudyRow) -> StudyRow:
    """Forget the winner's score, and its confirmation, of a locked study that may come to another winner; harmless if
    there is none.

    Runs that have confirmed a trial stay good for that trial.
    """
    if study.confirmation is not None:
        confirm_runs.forget_failed(tx, study.uuid)
        study = studies.change(tx, study, confirmation=None)
    if not study.is_scored:
        return study
    warnings = study.warnings if study.test_metrics is None else [*study.warnings, _TEST_SPLIT_WAS_USED]
    return studies.change(tx, study, is_scored=False, test_metrics=None, warnings=warnings)


def begin_stopping(tx: Transaction, study: StudyRow, ending: StudyState, failure: Failure | None = None) -> StudyRow:
    """Start no more trials of a locked study: waiting ones end as cancelled, running ones are left to their workers.

    Paused trials have values: they end as PRUNED.

    Args:
        ending: The state that the study will have when its running trials have ended.
    """
    end_paused(tx, study)
    cancelled = Failure(failure_class="cancelled", message="the study was ended before this trial began")
    for trial in trials.all_of(tx, study):
        if trial.state.name == "WAITING":
            trials.finish(tx, study, trial, "FAIL", None, cancelled)
    return studies.change(tx, study, state="stopping", ending=ending, failure=failure)


def fail(tx: Transaction, study: StudyRow, failure: Failure) -> StudyRow:
    """End a locked study at once, as failed; for one that has no trials yet."""
    return studies.change(tx, study, state="failed", failure=failure, finished_at=tx.now)


def settle(tx: Transaction, study: StudyRow) -> StudyRow:
    """Move a locked study's state on as far as its trials and limits allow, and return the study as it is then.

    What its finished trials come to is stored on the way.
    """
    settled = _moved_on(tx, study)
    summarise(tx, settled)
    return settled


def _moved_on(tx: Transaction, study: StudyRow) -> StudyRow:
    if study.has_ended:
        return study
    study = _enforce_limits(tx, study)
    if study.state == "running" and are_over(tx, study):
        drop_paused(tx, study)
    counts = trials.counts(tx, study)
    all_done = study.facts is not None and counts.n_finished >= study.spec.n_trials and not counts.waiting
    if counts.running or not (all_done or study.state == "stopping"):
        return study
    if leases.of_study(tx, study.uuid) or _awaits_probe(study):
        return study
    if needs_confirmation(tx, study):
        why_now = _why_not_confirmed(tx, study)
        if why_now is None and awaits_runs(tx, study):
            return study
        study = conclude(tx, study, why_now)
    if needs_score(tx, study):
        if not is_score_overdue(tx, study):
            return study
        study = studies.change(tx, study, is_scored=True, warnings=[*study.warnings, _NOBODY_SCORED])
    return _end(tx, study)


def needs_score(tx: Transaction, study: StudyRow) -> bool:
    """Whether the winner has yet to be scored on the test split; with several objectives there is no winner."""
    has_test = study.spec.data is not None and study.spec.data.test is not None
    if len(study.spec.objectives) > 1 or study.is_scored or not has_test or study.ending in ("cancelled", "failed"):
        return False
    return best_trial(trials.all_of(tx, study), study.spec) is not None


def search_has_ended(tx: Transaction, study: StudyRow) -> bool:
    """Whether no trial runs or waits any more, and none is to begin."""
    counts = trials.counts(tx, study)
    are_enough = study.state == "stopping" or counts.n_finished >= study.spec.n_trials
    return are_enough and not counts.running and not counts.waiting


def needs_confirmation(tx: Transaction, study: StudyRow) -> bool:
    """Whether the winner of a study whose search has ended has yet to be confirmed under fresh seeds."""
    if not _awaits_confirmation(study) or study.ending in ("cancelled", "failed"):
        return False
    return best_trial(trials.all_of(tx, study), study.spec) is not None


def _running(tx: Transaction, study: StudyRow) -> StudyRow:
    return studies.change(tx, study, state="running", ending=None, failure=None, finished_at=None, has_card=False)


def _awaits_confirmation(study: StudyRow) -> bool:
    return study.spec.confirm is not None and study.confirmation is None


def _why_not_confirmed(tx: Transaction, study: StudyRow) -> str | None:
    """Say why no more runs confirm the winner, though some are missing; ``None`` while there may be more."""
    if is_overdue(tx, study):
        return "its timeout_seconds have passed"
    return "too little of its device_seconds is left" if is_used_up(tx, study) else None


def _awaits_probe(study: StudyRow) -> bool:
    """Whether a worker has yet to measure similarity or steps; a study that is paused or stopping ends without."""
    return study.state == "running" and study.facts is not None and study.facts.awaits_probe


def _lock_open(tx: Transaction, name: str, rule: str) -> StudyRow:
    study = studies.lock(tx, name)
    if study.has_ended or study.state == "stopping":
        raise StudyEnded(f"study {name!r} is {study.state}; {rule}")
    return study


def _enforce_limits(tx: Transaction, study: StudyRow) -> StudyRow:
    if study.state == "stopping":
        return study
    most = _most_common_failure(tx, study)
    limit = max(MIN_FAILURES, math.ceil(FAILURE_SHARE * study.spec.n_trials))
    if most is not None and most[1] >= limit:
        return begin_stopping(tx, study, "failed", _too_many(most, trials.all_of(tx, study)))
    return begin_stopping(tx, study, "complete") if spent_budget(tx, study) else study


def _end(tx: Transaction, study: StudyRow) -> StudyRow:
    seen = trials.all_of(tx, study)
    ending, failure = study.ending or "complete", study.failure
    if _awaits_confirmation(study):
        study = conclude(tx, study, "no trial has completed" if ending == "complete" else f"the study was {ending}")
    most = _most_common_failure(tx, study)
    if ending == "complete" and most is not None and all(trial.state.name == "FAIL" for trial in seen):
        ending, failure = "failed", _too_many(most, seen)
    reason = why_none_completed(seen) if ending == "complete" else None
    warnings = study.warnings if reason is None else [*study.warnings, reason]
    if study.facts is not None and study.facts.awaits_probe:
        no_more = {"awaits_similarity": False, "awaits_step_times": False}
        study = studies.change(tx, study, facts=study.facts.model_copy(update=no_more))
    return studies.change(tx, study, state=ending, ending=None, failure=failure, finished_at=tx.now, warnings=warnings)


def _most_common_failure(tx: Transaction, study: StudyRow) -> tuple[str, int] | None:
    """The class of which most trials have failed, and how many; one whose time was up says nothing of the study."""
    failures = Counter({name: n for name, n in trials.failures_by_class(tx, study).items() if name != "budget"})
    return next(iter(failures.most_common(1)), None)


def _too_many(most: tuple[str, int], seen: list[FrozenTrial]) -> Failure:
    failure_class, count = most
    last = [
        failure
        for failure in map(trials.failure_of, seen)
        if failure is not None and failure.failure_class == failure_class
    ][-1]
    return last.model_copy(
        update={
            "message": f"{count} of {plural(len(seen), 'trial')} failed as {failure_class}; the last: {last.message}"
        }
    )
