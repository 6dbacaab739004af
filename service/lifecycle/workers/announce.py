"""Note a worker before its launcher starts it."""

from service.store import workers
from service.store.store import Store


def announce(store: Store, worker_id: str, launcher: str) -> None:
    """Remember who launches the worker, so that a later process of the launcher finds what it left behind."""
    with store.writing() as tx:
        workers.announce(tx, worker_id, launcher)
