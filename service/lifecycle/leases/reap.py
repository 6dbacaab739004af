"""Take back the trials of workers that are no longer heard of."""

from datetime import timedelta

from service.failpoints import failpoint
from service.lifecycle.leases.reap_one import reap_one
from service.store import leases, workers
from service.store.store import Store

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
    return sum(reap_one(store, held, expired_at=as_of) for held in expired)
