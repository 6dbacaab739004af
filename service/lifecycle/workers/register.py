"""POST /v1/workers: a worker says who it is."""

from service.errors import ProtocolTooOld
from service.failpoints import failpoint
from service.store import workers
from service.store.store import Store
from spezia.contract.protocol import (
    HEARTBEAT_SECONDS,
    LEASE_SECONDS,
    PROTOCOL,
    WorkerRegistration,
    WorkerTerms,
)


def register(store: Store, registration: WorkerRegistration) -> WorkerTerms:
    """Note a worker and tell it the terms of its leases; again is harmless.

    Raises:
        ProtocolTooOld: The worker speaks an older protocol.
    """
    if registration.protocol < PROTOCOL:
        raise ProtocolTooOld(
            f"this worker speaks protocol {registration.protocol}, the service {PROTOCOL}; upgrade the worker"
        )
    with store.writing() as tx:
        workers.register(tx, registration)
    failpoint("register.after_commit")
    return WorkerTerms(heartbeat_seconds=HEARTBEAT_SECONDS, lease_seconds=LEASE_SECONDS)
