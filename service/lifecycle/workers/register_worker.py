"""Make a worker known, as it registers itself when it starts (POST /v1/workers)."""

from service.errors import ProtocolTooOld
from service.failpoints import failpoint
from service.lease_and_heartbeat_terms import HEARTBEAT_SECONDS, LEASE_SECONDS
from service.store import workers
from service.store.store import Store
from spezia.contract.protocol import PROTOCOL, WorkerRegistration, WorkerTerms


def register_worker(store: Store, registration: WorkerRegistration) -> WorkerTerms:
    """Note a worker and return the terms of its leases; repeating is harmless.

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
