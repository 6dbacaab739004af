"""Renew the leases of a worker that is alive, and tell it whether to go on (POST /v1/leases/heartbeat)."""

from datetime import datetime
from functools import partial

from service.failpoints import failpoint
from service.store import leases, sent_checkpoints, studies, workers
from service.store.leases import Lease
from service.store.sent_checkpoints import CheckpointRow
from service.store.store import Store
from service.store.studies import StudyRow
from service.store.transaction import Transaction
from spezia.contract.protocol import Directive, HeartbeatReply, HeldLease, LeaseStatus, WantedCheckpoint


def heartbeat(store: Store, held: list[HeldLease], max_checkpoint_bytes: int) -> HeartbeatReply:
    """Renew leases and return the status of each, in their order; a late heartbeat revives a lease not yet reaped.

    Args:
        max_checkpoint_bytes: Bytes that checkpoints may take which are sent; where room is left, the worker hears which
            of its own others wait for.
    """
    reply = store.together(None, partial(_renew, held, max_checkpoint_bytes))
    failpoint("heartbeat.after_commit")
    return reply


def _renew(held: list[HeldLease], max_checkpoint_bytes: int, tx: Transaction) -> HeartbeatReply:
    # in one order for all callers, so that two of them cannot wait for each other
    in_order = sorted(held, key=lambda one: one.lease_id)
    renewed = {lease.lease_id: tx.ask(leases.renew(lease.lease_id, lease.token, tx.now)) for lease in in_order}
    status = {lease_id: _status(tx, lease_id, lease) for lease_id, lease in renewed.items()}
    alive = sorted({lease.worker_id for lease in renewed.values() if lease is not None})
    wanted = [one for worker_id in alive for one in tx.ask(sent_checkpoints.awaited_of(worker_id, tx.now))]
    bytes_left = max_checkpoint_bytes - sent_checkpoints.used_bytes(tx) if wanted else 0
    checkpoints = [_wanted(one, tx.now, bytes_left) for one in wanted if bytes_left > 0]
    failpoint("heartbeat.before_commit")
    return HeartbeatReply(leases=[status[lease.lease_id] for lease in held], checkpoints=checkpoints)


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


def _status(tx: Transaction, lease_id: str, renewed: Lease | None) -> LeaseStatus:
    if renewed is None:
        return LeaseStatus(lease_id=lease_id, directive="lost", expires_at=None)
    workers.see(tx, renewed.worker_id)
    study = studies.find_by_uuid(tx, renewed.study_uuid)
    return LeaseStatus(lease_id=lease_id, directive=directive(study, renewed), expires_at=renewed.expires_at)


def _wanted(row: CheckpointRow, now: datetime, bytes_left: int) -> WantedCheckpoint:
    return WantedCheckpoint(
        lease_id=row.lease_id,
        token=row.token,
        study_id=row.study_uuid,
        number=row.number,
        attempt=row.attempt,
        step=row.step,
        max_bytes=bytes_left,
        within_seconds=min(row.worth_seconds, (row.wanted_until - now).total_seconds()),
    )
