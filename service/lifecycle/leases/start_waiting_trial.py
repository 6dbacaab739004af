"""Hand out a trial that waits, to go on from its worker's checkpoint or to begin anew."""

from collections.abc import Sequence

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

    A trial comes first that the asker holds a checkpoint of. The new attempt keeps what was reported up to the step of
    the checkpoint, as its own; everything above is deleted from the trial, with what a pruner remembers of it: pruners
    must not judge the attempt by its predecessor. The history stays in `measurement`.
    """
    waiting = trials.waiting(tx, study)
    held = {one.number: one for one in checkpoints if one.study_id == study.uuid}
    trial = trials.find(tx, study, next((number for number in waiting if number in held), waiting[0]))
    assert trial is not None
    past = attempts.history(tx, study.uuid, "trial", trial.number)
    seen = {row.attempt: measurements.of_attempt(tx, study.uuid, trial.number, row.attempt) for row in past}
    resume = _resume(held.get(trial.number), {attempt: [row.step for row in rows] for attempt, rows in seen.items()})
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
    kept = [row for row in seen[resume.attempt] if row.step <= resume.step]
    measurements.copy(tx, kept, granted.attempt)
    goes_on = resume.attempt == past[-1].attempt and len(kept) == len(seen[resume.attempt])
    trials.start(tx, study, trial, {row.step: row.value for row in kept}, is_judged=goes_on)
    return granted


def _resume(held: HeldCheckpoint | None, steps: dict[int, list[int]]) -> Resume | None:
    """Whether every evaluation that the checkpoint has behind it was reported; ``steps`` by attempt, ascending."""
    if held is None or held.attempt not in steps:
        return None
    if [step for step in steps[held.attempt] if step <= held.step] != list(range(1, held.step + 1)):
        return None
    return Resume(attempt=held.attempt, step=held.step)
