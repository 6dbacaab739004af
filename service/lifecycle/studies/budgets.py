"""What a study may still spend: whether its time is over, whether another trial may start, and how long it may take."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from service.lease_and_heartbeat_terms import SCORE_WAIT_SECONDS
from service.lifecycle.studies.device_budget import is_used_up
from service.search.results.ranking import best_trial, first_value
from service.store import attempts, leases, trials
from service.store.leases import Lease
from service.store.studies import StudyRow
from service.store.transaction import Transaction
from service.store.trials import FrozenTrial, failure_of
from spezia.common.plural import plural


def is_overdue(tx: Transaction, study: StudyRow) -> bool:
    """Whether the study's ``timeout_seconds`` have passed since it was created, pauses not counted."""
    return study.deadline is not None and _clock(tx, study) >= study.deadline


def is_score_overdue(tx: Transaction, study: StudyRow) -> bool:
    """Whether no worker has come to score an overdue study's winner, though nothing else of the study is left to do."""
    if study.deadline is None or not is_overdue(tx, study):
        return False
    since = max(study.deadline, attempts.last_end(tx, study.uuid) or study.created_at)
    return tx.now >= since + timedelta(seconds=SCORE_WAIT_SECONDS)


def elapsed_seconds(tx: Transaction, study: StudyRow) -> float:
    """Seconds from the study's creation to its end, or to now, pauses not counted."""
    until = study.finished_at or _clock(tx, study)
    return max(0.0, (until - study.created_at).total_seconds() - study.paused_seconds)


def is_full(tx: Transaction, study: StudyRow) -> bool:
    """Whether no further trial may start now, because of ``n_parallel`` or for lack of ``device_seconds``."""
    limit = study.spec.n_parallel
    if limit is not None and len(leases.of_study(tx, study.uuid)) >= limit:
        return True
    return is_used_up(tx, study)


def spent_budget(tx: Transaction, study: StudyRow) -> str | None:
    """Say which budget allows no more trials and what to do; ``None`` while all of them do."""
    best = None if study.spec.target_value is None else best_trial(trials.all_of(tx, study), study.spec)
    if best is not None and _reaches_target(study, first_value(best)):
        return f"trial {best.number} has reached target_value; post a new study with another target"
    if is_overdue(tx, study):
        return "its timeout_seconds have passed; raise timeout_seconds too"
    if is_used_up(tx, study) and not leases.of_study(tx, study.uuid):
        return "too little of its device_seconds is left for another trial; raise device_seconds too"
    return None


def why_none_completed(seen: Sequence[FrozenTrial]) -> str | None:
    """Say that time was up for trials of an ended study in which none completed; ``None`` if that is not why."""
    failures = [failure for failure in map(failure_of, seen) if failure is not None]
    n_cut_off = sum(failure.failure_class == "budget" for failure in failures)
    if not n_cut_off or any(trial.state.name == "COMPLETE" for trial in seen):
        return None
    return (
        f"no trial completed: the time that the study's limits left them was up for {n_cut_off} of "
        f"{plural(len(seen), 'trial')}; "
        "post a new study with more device_seconds or timeout_seconds, with fewer epochs, or with a smaller model"
    )


def seconds_left(tx: Transaction, study: StudyRow, held: Lease) -> float | None:
    """Seconds that a running trial may still take, by its study's deadline and its own reservation; ``None``: any."""
    limits = []
    if study.deadline is not None:
        limits.append((study.deadline - _clock(tx, study)).total_seconds())
    if held.reserved_seconds is not None:
        limits.append(held.reserved_seconds - attempts.age_seconds(tx, held))
    return max(0.0, min(limits)) if limits else None


def _clock(tx: Transaction, study: StudyRow) -> datetime:
    """The instant that counts against the study's deadline; a pause stops it."""
    return study.paused_at or tx.now


def _reaches_target(study: StudyRow, value: float | None) -> bool:
    target = study.spec.target_value
    if target is None or value is None:
        return False
    return value <= target if study.spec.direction == "minimize" else value >= target
