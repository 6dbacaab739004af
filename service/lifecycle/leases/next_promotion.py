"""Which paused trial a worker may go on with, and whose checkpoint is waited for."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from service.lease_and_heartbeat_terms import HOLDER_SECONDS, LEASE_SECONDS
from service.lifecycle.leases.work_request import WorkRequest
from service.lifecycle.studies.rungs import due_promotions
from service.search.pruning.rungs import Promotion
from service.store import attempts, sent_checkpoints, workers
from service.store.sent_checkpoints import CheckpointRow
from service.store.sql.statements import Row
from service.store.studies import StudyRow
from service.store.transaction import Transaction


@dataclass(frozen=True)
class AwaitedHolder:
    """The worker that has the checkpoint of a paused trial, for which all others wait."""

    attempt: Row
    """Its attempt at the trial, which wrote the checkpoint."""
    until: datetime
    """Instant at which the others wait no longer."""


def next_promotion(tx: Transaction, study: StudyRow, asked: WorkRequest | None) -> Promotion | None:
    """Return the promotion that is due and for this worker; ``None`` if there is none.

    One whose checkpoint the worker holds comes first. One whose checkpoint has come through the service is for anyone
    of the same versions. One of which another worker that lives has a checkpoint waits for that one, for
    ``HOLDER_SECONDS`` from when it became due; then anyone may have it, and trains anew up to its rung.

    Args:
        asked: What the worker asks with; ``None``: any promotion that is due.
    """
    due = due_promotions(tx, study)
    if asked is None or not due:
        return next(iter(due), None)
    held = asked.held(study.uuid)
    own = next((one for one in due if one.number in held and held[one.number].step == one.pause.step), None)
    if own is not None:
        return own
    sent = sent_checkpoints.of_study(tx, study.uuid)
    return next((one for one in due if _is_for(tx, study, one, asked, sent.get(one.number))), None)


def awaited_holder(tx: Transaction, study: StudyRow, due: Promotion, asker_id: str) -> AwaitedHolder | None:
    """Return the worker that a promotion waits for; ``None``: for nobody, or for the asker."""
    since = max(datetime.fromisoformat(due.due_since), due.pause.began_at)
    until = since + timedelta(seconds=HOLDER_SECONDS)
    past = attempts.history(tx, study.uuid, "trial", due.number)
    # a clock that was set back makes it due in the future, for which nobody waits
    if not since <= tx.now < until or not due.pause.has_checkpoint or not past or past[-1].worker_id == asker_id:
        return None
    holder = tx.ask(workers.find(past[-1].worker_id))
    if holder is None or tx.now - holder.last_seen_at > timedelta(seconds=LEASE_SECONDS):
        return None
    return AwaitedHolder(past[-1], until)


def _is_for(tx: Transaction, study: StudyRow, due: Promotion, asked: WorkRequest, sent: CheckpointRow | None) -> bool:
    is_sent = sent is not None and sent.sha256 is not None and sent.step == due.pause.step
    if is_sent and sent is not None and sent.versions == asked.versions:
        return True
    return awaited_holder(tx, study, due, asked.worker_id) is None
