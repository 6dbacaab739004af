"""Take one lease back from a worker that is gone."""

import logging
from datetime import datetime

from structlog.contextvars import bound_contextvars

from service.failpoints import failpoint
from service.lifecycle.leases.lease_fields import lease_fields
from service.lifecycle.leases.take_back import take_back
from service.store import leases, studies
from service.store.leases import Lease
from service.store.store import Store
from spezia.contract.failure import Failure

log = logging.getLogger(__name__)


def reap_one(store: Store, held: Lease, *, expired_at: datetime | None, is_counted: bool = True) -> bool:
    """End a lease if it is still the same one, and, given ``expired_at``, if it had expired by then; return whether."""
    with store.writing() as tx:
        study = studies.lock_by_uuid(tx, held.study_uuid)
        if study is None:
            return False
        taken = leases.reap(tx, held, expired_at) if expired_at else tx.ask(leases.end(held.lease_id, held.token))
        if taken is None:
            return False
        lost = Failure(failure_class="lost", message=f"worker {taken.worker_id[:8]} was lost")
        take_back(tx, study, taken, lost, is_counted=is_counted)
        failpoint("reap.before_commit")
    if expired_at:
        store.metrics.leases_reaped.inc()
    with bound_contextvars(**lease_fields(study, taken)):
        log.warning("the lease was taken back: its worker is gone or silent")
    failpoint("reap.after_commit")
    return True
