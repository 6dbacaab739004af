"""Renew the leases of a worker that is alive, and tell it whether to go on (POST /v1/leases/heartbeat)."""

from service.failpoints import failpoint
from service.store import leases, studies, workers
from service.store.leases import Lease
from service.store.store import Store
from service.store.studies import StudyRow
from service.store.transaction import Transaction
from spezia.contract.protocol import Directive, HeldLease, LeaseStatus


def heartbeat(store: Store, held: list[HeldLease]) -> list[LeaseStatus]:
    """Renew leases and return the status of each, in their order; a late heartbeat revives a lease not yet reaped."""
    with store.writing() as tx:
        # in one order for all callers, so that two of them cannot wait for each other
        status = {lease.lease_id: _renew(tx, lease) for lease in sorted(held, key=lambda one: one.lease_id)}
        failpoint("heartbeat.before_commit")
    failpoint("heartbeat.after_commit")
    return [status[lease.lease_id] for lease in held]


def directive(study: StudyRow | None, held: Lease) -> Directive:
    """Return what the worker that holds the live lease ``held`` of ``study`` should do."""
    if study is None:
        return "lost"
    if held.kind == "replay":  # whatever becomes of the study
        return "cancel" if held.is_cancelled else "continue"
    if study.has_ended:
        return "lost"
    if held.kind == "confirm" and study.confirmation is not None:
        return "cancel"  # it was concluded without this run
    return "cancel" if held.is_cancelled or study.ending in ("cancelled", "failed") else "continue"


def _renew(tx: Transaction, held: HeldLease) -> LeaseStatus:
    renewed = tx.ask(leases.renew(held.lease_id, held.token, tx.now))
    if renewed is None:
        return LeaseStatus(lease_id=held.lease_id, directive="lost", expires_at=None)
    workers.see(tx, renewed.worker_id)
    study = studies.find_by_uuid(tx, renewed.study_uuid)
    return LeaseStatus(lease_id=held.lease_id, directive=directive(study, renewed), expires_at=renewed.expires_at)
