"""Take back an attempt that ended without a result: the trial waits again, or fails after its last attempt.

A trial that was told to end early has its result, and one that was told to pause is paused: the decision is final,
whoever hears of it.
"""

from service.lease_and_heartbeat_terms import MAX_COUNTED_ATTEMPTS, MAX_UNCOUNTED_ATTEMPTS
from service.lifecycle.confirmation.accept_run import note_failed_run
from service.lifecycle.leases.accept_probe import note_failed_probe
from service.lifecycle.leases.past_attempts import past_attempts
from service.lifecycle.pilots.accept_pilot import note_failed_pilot
from service.lifecycle.replays.end_replay import end_without_result
from service.lifecycle.studies.rungs import STUDY_ENDED, end_at_rung
from service.lifecycle.studies.state_machine import begin_stopping, fail, settle
from service.rung_marks import pause_of
from service.search.results.judge_trial import values_when_pruned
from service.store import attempts, measurements, studies, trials
from service.store.leases import Lease
from service.store.studies import StudyRow
from service.store.transaction import Transaction
from spezia.contract.failure import Failure


def take_back(
    tx: Transaction,
    study: StudyRow,
    held: Lease,
    failure: Failure,
    *,
    is_counted: bool,
    device_seconds: float | None = None,
    outcome: str | None = None,
) -> StudyRow:
    """Close the attempt of a lease that has just been ended, under the study's lock, and settle the study.

    A replay waits again, or ends after its last attempt, and nothing of the study moves.
    """
    pauses = _was_told_to_pause(tx, study, held)
    attempts.close(
        tx,
        held,
        attempts.PAUSED if pauses else failure.failure_class,
        is_counted=is_counted and not pauses,
        device_seconds=device_seconds,
        outcome=outcome,
    )
    past = past_attempts(tx, held)
    n_counted = sum(attempt.is_counted for attempt in past)
    n_uncounted = sum(not attempt.is_counted and attempt.end != attempts.PAUSED for attempt in past)
    used_up = n_counted >= MAX_COUNTED_ATTEMPTS or n_uncounted >= MAX_UNCOUNTED_ATTEMPTS
    if used_up:
        failure = failure.model_copy(update={"message": f"{failure.message} (attempt {len(past)}, the last)"})
    if held.kind == "replay":
        if used_up or held.is_cancelled:
            end_without_result(tx, study, held.number, failure)
        return study
    if held.kind == "trial":
        _take_back_trial(tx, study, held, failure, used_up)
    elif held.kind == "small" and used_up:
        study, hopeless = note_failed_pilot(tx, study, held.number, failure)
        if hopeless is not None:
            study = begin_stopping(tx, study, "failed", hopeless)
    elif held.kind == "confirm" and used_up:
        note_failed_run(tx, study, held, failure)
    elif held.kind == "prepare" and used_up and study.ending is None:
        study = fail(tx, study, failure)
    elif held.kind == "probe" and used_up:
        study = note_failed_probe(tx, study, failure)
    elif held.kind == "score" and used_up:
        warning = f"the winner was not scored on the test split: {failure.message}"
        study = studies.change(tx, study, is_scored=True, warnings=[*study.warnings, warning])
    return settle(tx, study)


def _was_told_to_pause(tx: Transaction, study: StudyRow, held: Lease) -> bool:
    trial = trials.find(tx, study, held.number) if held.kind == "trial" else None
    return trial is not None and trials.is_running(trial) and pause_of(trial) is not None


def _take_back_trial(tx: Transaction, study: StudyRow, held: Lease, failure: Failure, used_up: bool) -> None:
    trial = trials.find(tx, study, held.number)
    assert trial is not None
    if not trials.is_running(trial):
        return  # another program has ended it, and what it says stands
    if tx.ask(measurements.was_pruned(held)):
        trials.finish(tx, study, trial, "PRUNED", values_when_pruned(study.spec, trial.intermediate_values), None)
    elif held.is_cancelled:
        message = f"the trial was cancelled while it ran, and its worker went away: {failure.message}"
        trials.finish(tx, study, trial, "FAIL", None, Failure(failure_class="cancelled", message=message))
    elif pause_of(trial) is not None:
        if study.state == "stopping":
            end_at_rung(tx, study, [trial], STUDY_ENDED)
        else:
            trials.put_back(tx, study, trial)
    elif study.state == "stopping":
        message = f"the study was ended while this trial ran, and its worker went away: {failure.message}"
        trials.finish(tx, study, trial, "FAIL", None, Failure(failure_class="cancelled", message=message))
    elif used_up:
        trials.finish(tx, study, trial, "FAIL", None, failure)
    else:
        trials.put_back(tx, study, trial)
