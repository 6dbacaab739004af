"""Which paused trial a worker may go on with."""

from datetime import datetime, timedelta

from service.lease_and_heartbeat_terms import HOLDER_SECONDS, LEASE_SECONDS
from service.lifecycle.leases.work_request import WorkRequest
from service.lifecycle.studies.rungs import due_promotions
from service.search.pruning.rungs import Promotion
from service.store import attempts, workers
from service.store.studies import StudyRow
from service.store.transaction import Transaction


def next_promotion(tx: Transaction, study: StudyRow, asked: WorkRequest | None) -> Promotion | None:
    """Return the promotion that is due and for this worker; ``None`` if there is none.

    One whose checkpoint the worker holds comes first. One of which another worker that lives has a checkpoint waits for
    that one, for ``HOLDER_SECONDS`` from when it became due; then anyone may have it, and trains anew up to its rung.

    Args:
        asked: What the worker asks with; ``None``: any promotion that is due.
    """
    due = due_promotions(tx, study)
    if asked is None:
        return next(iter(due), None)
    held = asked.held(study.uuid)
    own = next((one for one in due if one.number in held and held[one.number].step == one.pause.step), None)
    return own or next((one for one in due if _is_for_anyone(tx, study, one, asked.worker_id)), None)


def _is_for_anyone(tx: Transaction, study: StudyRow, due: Promotion, asker_id: str) -> bool:
    since = max(datetime.fromisoformat(due.due_since), due.pause.began_at)
    # a clock that was set back makes it due in the future, for which nobody waits
    is_recent = timedelta(0) <= tx.now - since < timedelta(seconds=HOLDER_SECONDS)
    past = attempts.history(tx, study.uuid, "trial", due.number)
    if not is_recent or not due.pause.has_checkpoint or not past or past[-1].worker_id == asker_id:
        return True
    holder = tx.ask(workers.find(past[-1].worker_id))
    return holder is None or tx.now - holder.last_seen_at > timedelta(seconds=LEASE_SECONDS)
