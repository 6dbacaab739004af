"""Hand out a trial that waits, to go on from its worker's checkpoint or to begin anew."""

from collections.abc import Sequence

from service.lifecycle.leases.choose_waiting import choose_waiting
from service.lifecycle.studies.device_budget import seconds_to_reserve
from service.search.space.params import trial_params
from service.store import attempts, measurements, trials
from service.store.attempts import Asker
from service.store.leases import Lease
from service.store.studies import StudyRow
from service.store.transaction import Transaction
from spezia.contract.protocol import HeldCheckpoint, Resume


def start_waiting_trial(
    tx: Transaction, study: StudyRow, asker: Asker, checkpoints: Sequence[HeldCheckpoint]
) -> Lease | None:
    """Grant a WAITING trial of a locked study that has one; ``None``: it has to wait for device seconds of others.

    The new attempt keeps what was reported up to the step of
    the checkpoint, as its own; everything above is deleted from the trial, with what a pruner remembers of it: pruners
    must not judge the attempt by its predecessor. The history stays in `measurement`.
    """
    held = {one.number: one for one in checkpoints if one.study_id == study.uuid}
    trial = trials.find(tx, study, choose_waiting(tx, study, held))
    assert trial is not None
    past = attempts.history(tx, study.uuid, "trial", trial.number)
    checkpoint = held.get(trial.number)
    if checkpoint is not None and checkpoint.attempt > len(past):
        checkpoint = None
    # of other attempts, and without a checkpoint, nothing that was reported is looked at
    seen = [] if checkpoint is None else measurements.of_attempt(tx, study.uuid, trial.number, checkpoint.attempt)
    kept = [] if checkpoint is None else [row for row in seen if row.step <= checkpoint.step]
    # steps count from 1: so many are all that the checkpoint has behind it
    resume = (
        Resume(attempt=checkpoint.attempt, step=checkpoint.step)
        if checkpoint and len(kept) == checkpoint.step
        else None
    )
    params = trial_params(study.spec, trial.params)
    seconds = seconds_to_reserve(tx, study, params, resume.step if resume else 0)
    if seconds == 0:
        return None
    granted = attempts.begin(
        tx,
        study.uuid,
        "trial",
        trial.number,
        asker,
        n_past=len(past),
        resume=resume,
        reserved_seconds=seconds,
    )
    if resume is None:
        trials.start(tx, study, trial, {}, is_judged=False)
        return granted
    measurements.copy(tx, kept, granted.attempt)
    goes_on = resume.attempt == past[-1].attempt and len(kept) == len(seen)
    trials.start(tx, study, trial, {row.step: row.value for row in kept}, is_judged=goes_on)
    return granted
