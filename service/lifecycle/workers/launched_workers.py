"""Workers of a launcher: each is made known before it starts, with an API key of its own, until it is retired.

The keys are in the database, so a worker is let in by every service on it, and by one that was started again. Where
people have no keys, those of workers change nothing: whoever reaches the service may use it still.
"""

from dataclasses import dataclass

from service.lifecycle.keys.key_text import draw_key, hash_key, id_in
from service.lifecycle.leases.reap import reap_launched, reap_worker
from service.store import keys, workers
from service.store.identity import identity
from service.store.store import Store
from spezia.contract.key import Scope


def launch_worker(store: Store, worker_id: str, launcher: str) -> str:
    """Admit a worker that is about to start.

    Returns:
        Key of the scope `worker`, for this worker alone. This is the only time that anybody sees it.
    """
    _, key = draw_key()
    admit_worker(store, worker_id, launcher, key)
    return key


def admit_worker(store: Store, worker_id: str, launcher: str, key: str) -> None:
    """Let a worker in by a key that was drawn for it alone, of the scope `worker`; remember who launches it, so that a
    later process of the launcher finds what it left behind."""
    with store.writing() as tx:
        workers.announce(tx, worker_id, launcher)
        # people's names have no colon, so none of them owns it
        name = f"worker:{worker_id[:8]}"
        keys.add(tx, id_in(key), name, frozenset({Scope.WORKER}), hash_key(key), worker_id=worker_id)


@dataclass(frozen=True, kw_only=True)
class LaunchedWorker:
    """A worker that a launcher has started, here or before, and that is let in."""

    worker_id: str
    is_busy: bool
    """Whether it holds a lease."""
    silent_seconds: float
    """Time since it was last heard of, or launched."""


def list_launched(store: Store, launcher: str) -> list[LaunchedWorker]:
    """Return the workers of a launcher that have not been retired."""
    with store.reading() as tx:
        return [
            LaunchedWorker(
                worker_id=row.worker_id,
                is_busy=row.is_busy,
                silent_seconds=(tx.now - row.last_seen_at).total_seconds(),
            )
            for row in workers.launched(tx, launcher)
        ]


def database_identity(store: Store) -> str:
    """Return what tells this database from others, for launchers whose workers live where those of others do too."""
    with store.writing() as tx:
        return identity(tx)


def retire_worker(store: Store, worker_id: str) -> None:
    """Take back the key and the leases of a worker that has ended, or that is not to go on."""
    with store.writing() as tx:
        keys.retire(tx, worker_id)
    reap_worker(store, worker_id)


def retire_left_behind(store: Store, launcher: str) -> None:
    """Take back the keys and the leases of all workers that an earlier process of this launcher left behind."""
    with store.writing() as tx:
        keys.retire_launched(tx, launcher)
    reap_launched(store, launcher)
