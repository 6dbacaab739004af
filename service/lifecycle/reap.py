"""Take back the trials of workers that are no longer heard of."""

from datetime import datetime, timedelta

from service.contract.study import Failure
from service.failpoints import failpoint
from service.lifecycle.take_back import take_back
from service.store import leases, studies, workers
from service.store.leases import Lease
from service.store.transaction import Store

REAP_SECONDS = 15.0
OUTAGE = timedelta(seconds=3 * REAP_SECONDS)
"""Silence of the service itself from which on its workers cannot be blamed for theirs."""


def reap(store: Store) -> int:
    """Beat, then reap what has expired; return how many leases were taken back.

    After an outage of the service, or when the database's clock has jumped, every live lease gets one full term of
    grace instead.
    """
    with store.writing() as tx:
        last = workers.last_alive_at(tx)
        workers.beat(tx)
        if last is None or not timedelta(0) <= tx.now - last <= OUTAGE:
            leases.restart_terms(tx)
            return 0
        # in the transaction that knows of no outage: one that begins after it must find nothing expired
        as_of, expired = tx.now, leases.expired(tx)
    failpoint("reap.listed")
    return sum(_reap_one(store, held, expired_at=as_of) for held in expired)


def reap_worker(store: Store, worker_id: str, *, is_counted: bool = True) -> int:
    """Take back the leases of a worker whose death was seen, expired or not."""
    with store.reading() as tx:
        held = leases.of_worker(tx, worker_id)
    return sum(_reap_one(store, one, expired_at=None, is_counted=is_counted) for one in held)


def reap_launched(store: Store, launcher: str) -> int:
    """Take back the leases of all workers that an earlier process of this launcher left behind.

    Not counted as attempts: the workers ended because their launcher did.
    """
    with store.reading() as tx:
        left_behind = workers.launched_by(tx, launcher)
    return sum(reap_worker(store, worker_id, is_counted=False) for worker_id in left_behind)


def void_leases(store: Store) -> int:
    """After a backup was restored: take back every lease, uncounted, whoever holds it and until whenever.

    What their workers have done since the backup was made is unknown here, so none of them may go on.
    """
    with store.reading() as tx:
        held = leases.all_live(tx)
    return sum(_reap_one(store, one, expired_at=None, is_counted=False) for one in held)


def _reap_one(store: Store, held: Lease, *, expired_at: datetime | None, is_counted: bool = True) -> bool:
    with store.writing() as tx:
        study = studies.lock_by_uuid(tx, held.study_uuid)
        if study is None:
            return False
        taken = leases.reap(tx, held, expired_at) if expired_at else leases.end(tx, held.lease_id, held.token)
        if taken is None:
            return False
        lost = Failure(failure_class="lost", message=f"worker {taken.worker_id[:8]} was lost")
        take_back(tx, study, taken, lost, is_counted=is_counted)
        failpoint("reap.before_commit")
    failpoint("reap.after_commit")
    return True
