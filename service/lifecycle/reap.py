"""Take back the trials of workers that are no longer heard of."""

from datetime import timedelta

from service.contract.study import Failure
from service.lifecycle.take_back import take_back
from service.store import leases, studies, workers
from service.store.leases import Lease
from service.store.transaction import Store

REAP_SECONDS = 15.0
OUTAGE = timedelta(seconds=3 * REAP_SECONDS)
"""Silence of the service itself from which on its workers cannot be blamed for theirs."""


def reap(store: Store) -> int:
    """Beat, then reap what has expired; return how many leases were taken back.

    After an outage of the service every live lease gets one full term of grace instead.
    """
    with store.writing() as tx:
        last = workers.last_alive_at(tx)
        workers.beat(tx)
        if last is None or tx.now - last > OUTAGE:
            leases.extend_all(tx)
            return 0
    with store.reading() as tx:
        expired = leases.expired(tx)
    return sum(_reap_one(store, held, expired_only=True) for held in expired)


def reap_worker(store: Store, worker_id: str, *, is_counted: bool = True) -> int:
    """Take back the leases of a worker whose death was seen, expired or not."""
    with store.reading() as tx:
        held = leases.of_worker(tx, worker_id)
    return sum(_reap_one(store, one, expired_only=False, is_counted=is_counted) for one in held)


def reap_launched(store: Store, launcher: str) -> int:
    """Take back the leases of all workers that an earlier process of this launcher left behind.

    Not counted as attempts: the workers ended because their launcher did.
    """
    with store.reading() as tx:
        left_behind = workers.launched_by(tx, launcher)
    return sum(reap_worker(store, worker_id, is_counted=False) for worker_id in left_behind)


def _reap_one(store: Store, held: Lease, *, expired_only: bool, is_counted: bool = True) -> bool:
    with store.writing() as tx:
        study = studies.lock_by_uuid(tx, held.study_uuid)
        if study is None:
            return False
        taken = leases.reap(tx, held) if expired_only else leases.end(tx, held.lease_id, held.token)
        if not taken:
            return False
        lost = Failure(failure_class="lost", message=f"worker {held.worker_id[:8]} was lost")
        take_back(tx, study, held, lost, is_counted=is_counted)
    return True
