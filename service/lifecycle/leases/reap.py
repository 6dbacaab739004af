"""Take leases back from workers that are silent, were seen to die, or cannot be trusted any more."""

import logging
from datetime import datetime, timedelta
from functools import partial

from structlog.contextvars import bound_contextvars

from service.failpoints import failpoint
from service.lease_and_heartbeat_terms import OUTAGE_SECONDS
from service.lifecycle.leases.lease_fields import lease_fields
from service.lifecycle.leases.take_back import take_back
from service.lifecycle.one_by_one import one_by_one
from service.store import keys, leases, studies, workers
from service.store.leases import Lease
from service.store.store import Store
from spezia.contract.failure import Failure

log = logging.getLogger(__name__)


def reap(store: Store) -> int:
    """Note that this service lives, then take back the leases that have expired; return how many those were.

    Workers that were not heard of for 30 days are forgotten.

    After an outage of the service, or when the database's clock has jumped, every live lease gets a term of grace
    instead.
    """
    with store.writing() as tx:
        last = workers.last_alive_at(tx)
        workers.beat(tx)
        if last is None or not timedelta(0) <= tx.now - last <= timedelta(seconds=OUTAGE_SECONDS):
            leases.restart_terms(tx)
            return 0
        if workers.forget_old(tx):
            keys.retire_forgotten(tx)
        # in the transaction that knows of no outage: one that begins after it must find nothing expired
        as_of, expired = tx.now, leases.expired(tx)
    failpoint("reap.listed")
    return sum(one_by_one(expired, partial(_reap_one, store, expired_at=as_of)))


def reap_worker(store: Store, worker_id: str, *, is_counted: bool = True) -> int:
    """Take back the leases of a worker that was seen to die, expired or not; return how many those were."""
    with store.reading() as tx:
        held = tx.ask(leases.of_worker(worker_id))
    return sum(one_by_one(held, partial(_reap_one, store, expired_at=None, is_counted=is_counted)))


def reap_launched(store: Store, launcher: str) -> int:
    """Take back the leases of all workers that an earlier process of this launcher left behind; return how many.

    They do not count as attempts: the workers ended because their launcher did.
    """
    with store.reading() as tx:
        left_behind = workers.launched_with_leases(tx, launcher)
    return sum(one_by_one(left_behind, partial(reap_worker, store, is_counted=False)))


def void_leases(store: Store) -> int:
    """Take back every lease after a backup was restored, whoever holds it; return how many there were.

    What the workers have done since the backup was made is unknown here, so none of them may go on. Their attempts do
    not count.
    """
    with store.reading() as tx:
        held = leases.all_live(tx)
    return sum(one_by_one(held, partial(_reap_one, store, expired_at=None, is_counted=False)))


def _reap_one(store: Store, held: Lease, *, expired_at: datetime | None, is_counted: bool = True) -> bool:
    """End a lease if it is still the same one, and, given ``expired_at``, if it had expired by then; return whether."""
    with store.writing() as tx:
        study = studies.lock_by_uuid(tx, held.study_uuid)
        if study is None:
            return False
        taken = leases.reap(tx, held, expired_at) if expired_at else tx.ask(leases.end(held.lease_id, held.token))
        if taken is None:
            return False
        lost = Failure(failure_class="lost", message=f"worker {taken.worker_id[:8]} was lost")
        take_back(tx, study, taken, lost, is_counted=is_counted)
        failpoint("reap.before_commit")
    if expired_at:
        store.metrics.leases_reaped.inc()
    with bound_contextvars(**lease_fields(study, taken)):
        log.warning("the lease was taken back: its worker is gone or silent")
    failpoint("reap.after_commit")
    return True
