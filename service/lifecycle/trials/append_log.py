"""PUT /v1/leases/{lease_id}/log: what a trial says comes in."""

from service.lifecycle.leases.lock_lease import hold
from service.store import artifacts
from service.store.store import Store


def append_log(store: Store, lease_id: str, token: str, text: str) -> None:
    """Append lines to the trial's log.

    Raises:
        LeaseLost: The lease is stale; nothing has changed.
    """
    with store.writing() as tx:
        artifacts.append_log(tx, hold(tx, lease_id, token), text)
