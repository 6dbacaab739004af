"""After a backup was restored, no lease is good."""

from service.lifecycle.leases.reap_one import reap_one
from service.store import leases
from service.store.store import Store


def void_leases(store: Store) -> int:
    """After a backup was restored: take back every lease, uncounted, whoever holds it and until whenever.

    What their workers have done since the backup was made is unknown here, so none of them may go on.
    """
    with store.reading() as tx:
        held = leases.all_live(tx)
    return sum(reap_one(store, one, expired_at=None, is_counted=False) for one in held)
