"""Compare the token of a lease under the lock of its study: what models, trials and leases do before they write."""

from service.errors import LeaseLost
from service.store import leases, studies
from service.store.leases import Lease
from service.store.transaction import Transaction


def lock_lease(tx: Transaction, lease_id: str, token: str) -> Lease:
    """Take the lock of a lease's study and renew the lease.

    Raises:
        LeaseLost: The lease is stale.
    """
    study_id = studies.lock_by_lease(tx, lease_id, token)
    renewed = None if study_id is None else tx.ask(leases.renew(lease_id, token, tx.now))
    if renewed is None:
        raise LeaseLost
    return renewed
