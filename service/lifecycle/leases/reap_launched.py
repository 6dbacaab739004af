"""A launcher starts again: take back what its earlier workers held."""

from service.lifecycle.leases.reap_worker import reap_worker
from service.store import workers
from service.store.store import Store


def reap_launched(store: Store, launcher: str) -> int:
    """Take back the leases of all workers that an earlier process of this launcher left behind.

    Not counted as attempts: the workers ended because their launcher did.
    """
    with store.reading() as tx:
        left_behind = workers.launched_by(tx, launcher)
    return sum(reap_worker(store, worker_id, is_counted=False) for worker_id in left_behind)
