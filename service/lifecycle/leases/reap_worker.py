"""A worker was seen to die: take back its leases."""

from service.lifecycle.leases.reap_one import reap_one
from service.store import leases
from service.store.store import Store


def reap_worker(store: Store, worker_id: str, *, is_counted: bool = True) -> int:
    """Take back the leases of a worker whose death was seen, expired or not."""
    with store.reading() as tx:
        held = tx.ask(leases.of_worker(worker_id))
    return sum(reap_one(store, one, expired_at=None, is_counted=is_counted) for one in held)
