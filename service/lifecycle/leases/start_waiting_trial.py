"""Hand out a trial that waits, to go on from a checkpoint, its worker's or one that was sent, or to begin anew."""

from service.lifecycle.leases.work_request import WorkRequest
from service.lifecycle.studies.device_budget import seconds_to_reserve
from service.lifecycle.studies.rungs import next_rung
from service.rung_marks import pause_of
from service.search.pruning.rungs import steps_to_evaluate
from service.search.space.params import trial_params
from service.store import attempts, measurements, sent_checkpoints, trials
from service.store.leases import Lease
from service.store.sent_checkpoints import CheckpointRow
from service.store.studies import StudyRow
from service.store.transaction import Transaction
from spezia.contract.assignments import Resume
from spezia.contract.protocol import HeldCheckpoint
from spezia.contract.study_spec import Params


def start_waiting_trial(tx: Transaction, study: StudyRow, asked: WorkRequest, number: int) -> Lease | None:
    """Grant a WAITING trial of a locked study; ``None``: it has to wait for device seconds of others.

    A paused one is promoted by that, from the rung where it is.

    It goes on from the furthest checkpoint, the asker's before one that was sent.
    The new attempt keeps what was reported up to the step of that checkpoint, as its own; everything above is
    deleted from the trial, with what a pruner of Optuna's remembers of it: pruners must not judge the attempt by its
    predecessor. The history stays in `measurement`, and so does the trial's place at rungs that it has reached.
    """
    trial = trials.find(tx, study, number)
    assert trial is not None
    past = attempts.history(tx, study.uuid, "trial", number)
    checkpoint = _furthest(
        len(past),
        asked.held(study.uuid).get(number),
        sent_checkpoints.come_for(tx, study.uuid, number, asked.versions),
    )
    # of other attempts, and without a checkpoint, nothing that was reported is looked at
    seen = [] if checkpoint is None else measurements.of_attempt(tx, study.uuid, number, checkpoint.attempt)
    kept = [] if checkpoint is None else [row for row in seen if row.step <= checkpoint.step]
    params = trial_params(study.spec, trial.params)
    is_whole = checkpoint is not None and _is_whole(study, params, checkpoint.step, {row.step for row in kept})
    resume = Resume(attempt=checkpoint.attempt, step=checkpoint.step) if checkpoint and is_whole else None
    seconds = seconds_to_reserve(
        tx, study, params, resume_step=resume.step if resume else 0, until_step=next_rung(study, trial)
    )
    if seconds == 0:
        return None
    granted = attempts.begin(
        tx,
        study.uuid,
        "trial",
        number,
        asked,
        n_past=len(past),
        resume=resume,
        reserved_seconds=seconds,
    )
    if (pause := pause_of(trial)) is not None:
        trials.promote(tx, trial, pause.rung)
    if resume is None:
        trials.start(tx, study, trial, {}, {}, is_judged=False)
        return granted
    measurements.copy(tx, kept, granted.attempt)
    goes_on = resume.attempt == past[-1].attempt and len(kept) == len(seen)
    whole, partial = ({row.step: row.value for row in kept if row.partial is one} for one in (False, True))
    trials.start(tx, study, trial, whole, partial, is_judged=goes_on)
    return granted


def _furthest(
    n_past: int, held: HeldCheckpoint | None, sent: CheckpointRow | None
) -> HeldCheckpoint | CheckpointRow | None:
    """Return that of two checkpoints from which most is trained; of equals the first. Only earlier attempts count."""
    known = [one for one in (held, sent) if one is not None and one.attempt <= n_past]
    return max(known, key=lambda one: one.step, default=None)


def _is_whole(study: StudyRow, params: Params, step: int, reported: set[int]) -> bool:
    """Whether every evaluation of a trial up to a step has been reported, the one at that step among them."""
    assert study.facts is not None
    expected = steps_to_evaluate(study.spec, params, study.facts) or range(1, step + 1)
    return step in reported | {0} and reported.issuperset(one for one in expected if one <= step)
