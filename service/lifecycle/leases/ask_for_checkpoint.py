"""Ask for the checkpoint of a paused trial whose holder is busy, so that another worker goes on with the trial.

Its holder hears of it with its next heartbeat, and sends the checkpoint while it trains something else.
"""

from uuid import uuid4

from service.failpoints import failpoint
from service.lifecycle.leases.next_promotion import awaited_holder
from service.lifecycle.leases.work_request import WorkRequest
from service.lifecycle.studies.rungs import due_promotions
from service.rung_marks import Pause
from service.store import leases, sent_checkpoints, studies
from service.store.sent_checkpoints import CheckpointRow
from service.store.store import Store
from service.store.studies import StudyRow
from service.store.transaction import Transaction


def missing_checkpoint(tx: Transaction, study: StudyRow, asked: WorkRequest) -> CheckpointRow | None:
    """Return a checkpoint that would let a worker go on with a due promotion; ``None``: there is none to ask for.

    Its holder lives, has other work, and trains with the same versions. How long it would take to train the trial anew
    is known: sending may take half of that, since the checkpoint travels twice.
    """
    if study.state != "running" or study.facts is None:
        return None
    for due in due_promotions(tx, study):
        holder = awaited_holder(tx, study, due, asked.worker_id)
        seconds = _seconds_to_train_anew(study, due.pause)
        if holder is None or not seconds or holder.attempt.versions != asked.versions:
            continue
        asked_for = sent_checkpoints.of_study(tx, study.uuid).get(due.number)
        is_asked_for = asked_for is not None and asked_for.lease_id == holder.attempt.lease_id
        if is_asked_for or not tx.ask(leases.of_worker(holder.attempt.worker_id)):
            continue
        return CheckpointRow(
            lease_id=holder.attempt.lease_id,
            study_uuid=study.uuid,
            number=due.number,
            attempt=holder.attempt.attempt,
            step=due.pause.step,
            worker_id=holder.attempt.worker_id,
            versions=dict(asked.versions),
            token=uuid4().hex,
            wanted_until=holder.until,
            worth_seconds=seconds / 2,
        )
    return None


def ask_for_checkpoint(store: Store, study_id: int, asked: WorkRequest) -> None:
    """Store what a look has found missing, if it still is."""
    with store.writing() as tx:
        study = studies.lock_by_id(tx, study_id)
        wanted = None if study is None else missing_checkpoint(tx, study, asked)
        if wanted is not None:
            sent_checkpoints.want(tx, wanted)
        failpoint("ask.before_commit")
    failpoint("ask.after_commit")


def _seconds_to_train_anew(study: StudyRow, pause: Pause) -> float | None:
    """Return what it takes to train a trial up to where it is paused; ``None``: its worker has not said."""
    if pause.seconds_per_epoch is None:
        return None
    return pause.seconds_per_epoch * pause.step / study.spec.training.evaluations_per_epoch
