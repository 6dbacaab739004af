"""All statements on `lease` and `attempt`: the right to write to one trial for a while.

The token is the authority, and it is compared in the statement that writes. Expiry is only permission to
reap. A lease whose row is gone is stale, whatever its clock says.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, cast
from uuid import uuid4

from sqlalchemy import CursorResult, Row, delete, func, insert, select, update

from service.contract.worker import LEASE_SECONDS, Resume
from service.store.tables import attempt, lease
from service.store.transaction import Transaction

Kind = Literal["prepare", "small", "trial", "score"]
TERM = timedelta(seconds=LEASE_SECONDS)


@dataclass(frozen=True, kw_only=True)
class Lease:
    lease_id: str
    token: str
    """Random, new for each attempt and each time the lease is handed out; never reused."""
    study_uuid: str
    kind: Kind
    number: int
    """The trial's; of ``prepare`` 0, of ``small`` that of the trial with the same params, of ``score`` the winner's."""
    attempt: int
    worker_id: str
    expires_at: datetime


@dataclass(frozen=True)
class Asker:
    """The worker that wants a lease."""

    worker_id: str
    device: str


def grant(
    tx: Transaction, study_uuid: str, kind: Kind, number: int, asker: Asker, resume: Resume | None = None
) -> Lease:
    """Begin the next attempt. At most one live lease for a trial: the database refuses a second."""
    past = select(func.count()).where(*_same(attempt, study_uuid, kind, number))
    granted = Lease(
        lease_id=uuid4().hex,
        token=uuid4().hex,
        study_uuid=study_uuid,
        kind=kind,
        number=number,
        attempt=tx.connection.execute(past).scalar_one() + 1,
        worker_id=asker.worker_id,
        expires_at=tx.now + TERM,
    )
    tx.connection.execute(insert(lease), granted.__dict__)
    begun = {
        "lease_id": granted.lease_id,
        "study_uuid": study_uuid,
        "kind": kind,
        "number": number,
        "attempt": granted.attempt,
        "worker_id": asker.worker_id,
        "device": asker.device,
        "started_at": tx.now,
        "is_counted": True,
        "device_seconds": 0.0,
        "resume_attempt": resume.attempt if resume else None,
        "resume_step": resume.step if resume else None,
    }
    tx.connection.execute(insert(attempt), begun)
    return granted


def hand_out_again(tx: Transaction, study_uuid: str, worker_id: str) -> list[Lease]:
    """Give a worker that asks again its own unfinished leases of one study: same attempt, new token."""
    again = []
    for held in of_worker(tx, worker_id):
        if held.study_uuid != study_uuid:
            continue
        renewed = {"token": uuid4().hex, "expires_at": tx.now + TERM}
        owned = (lease.c.lease_id == held.lease_id, lease.c.token == held.token)
        if _changed(tx.connection.execute(update(lease).where(*owned).values(**renewed))):
            again.append(Lease(**(held.__dict__ | renewed)))
    return again


def renew(tx: Transaction, lease_id: str, token: str) -> Lease | None:
    """Extend a lease by a full term, expired or not, unless it is stale."""
    owned = (lease.c.lease_id == lease_id, lease.c.token == token)
    statement = update(lease).where(*owned).values(expires_at=tx.now + TERM).returning(lease)
    return _one(tx.connection.execute(statement).first())


def end(tx: Transaction, lease_id: str, token: str) -> Lease | None:
    """Take the right to write away from its holder, who gives it up; ``None`` if it is stale."""
    owned = (lease.c.lease_id == lease_id, lease.c.token == token)
    return _one(tx.connection.execute(delete(lease).where(*owned).returning(lease)).first())


def reap(tx: Transaction, held: Lease) -> bool:
    """Take an expired lease away; ``False`` if it was renewed, handed out again or ended meanwhile."""
    expired = (
        lease.c.lease_id == held.lease_id,
        lease.c.token == held.token,
        lease.c.expires_at < tx.now,
    )
    return _changed(tx.connection.execute(delete(lease).where(*expired)))


def close_attempt(
    tx: Transaction,
    held: Lease,
    end: str,
    *,
    is_counted: bool = True,
    device_seconds: float | None = None,
    outcome: str | None = None,
) -> None:
    """Write down how an attempt ended. Without ``device_seconds`` the time since its start is taken."""
    mine = attempt.c.lease_id == held.lease_id
    if device_seconds is None:
        started_at = tx.connection.execute(select(attempt.c.started_at).where(mine)).scalar_one()
        device_seconds = max(0.0, (tx.now - started_at).total_seconds())
    ended = {
        "ended_at": tx.now,
        "end": end,
        "is_counted": is_counted,
        "device_seconds": device_seconds,
        "token": held.token,
        "outcome": outcome,
    }
    tx.connection.execute(update(attempt).where(mine).values(**ended))


def accepted_outcome(tx: Transaction, lease_id: str, token: str) -> str | None:
    """The outcome that was accepted under this very token, as JSON; it makes a replay harmless."""
    ours = select(attempt.c.outcome).where(attempt.c.lease_id == lease_id, attempt.c.token == token)
    return tx.connection.execute(ours).scalar_one_or_none()


def find(tx: Transaction, lease_id: str, token: str) -> Lease | None:
    owned = select(lease).where(lease.c.lease_id == lease_id, lease.c.token == token)
    return _one(tx.connection.execute(owned).first())


def of_study(tx: Transaction, study_uuid: str) -> list[Lease]:
    wanted = select(lease).where(lease.c.study_uuid == study_uuid).order_by(lease.c.number)
    return [_from_row(row) for row in tx.connection.execute(wanted)]


def of_worker(tx: Transaction, worker_id: str) -> list[Lease]:
    wanted = select(lease).where(lease.c.worker_id == worker_id).order_by(lease.c.study_uuid, lease.c.number)
    return [_from_row(row) for row in tx.connection.execute(wanted)]


def expired(tx: Transaction) -> list[Lease]:
    return [_from_row(row) for row in tx.connection.execute(select(lease).where(lease.c.expires_at < tx.now))]


def extend_all(tx: Transaction) -> None:
    """After an outage: nobody could renew, so every live lease gets one full term of grace."""
    until = tx.now + TERM
    tx.connection.execute(update(lease).where(lease.c.expires_at < until).values(expires_at=until))


def counts_of_live(tx: Transaction) -> dict[str, int]:
    """Live leases by study."""
    grouped = select(lease.c.study_uuid, func.count().label("n")).group_by(lease.c.study_uuid)
    return {row.study_uuid: row.n for row in tx.connection.execute(grouped)}


def attempts(tx: Transaction, study_uuid: str, kind: Kind, number: int) -> list[Row[Any]]:
    """Rows of `attempt`, first to last."""
    wanted = select(attempt).where(*_same(attempt, study_uuid, kind, number)).order_by(attempt.c.attempt)
    return list(tx.connection.execute(wanted))


def resume_of(tx: Transaction, held: Lease) -> Resume | None:
    """What a trial's attempt goes on from."""
    wanted = select(attempt.c.resume_attempt, attempt.c.resume_step).where(attempt.c.lease_id == held.lease_id)
    row = tx.connection.execute(wanted).one()
    return None if row.resume_attempt is None else Resume(attempt=row.resume_attempt, step=row.resume_step)


def device_seconds(tx: Transaction, study_uuid: str) -> float:
    """Summed over all ended attempts of a study."""
    total = select(func.coalesce(func.sum(attempt.c.device_seconds), 0.0)).where(attempt.c.study_uuid == study_uuid)
    return float(tx.connection.execute(total).scalar_one())


def _same(table: Any, study_uuid: str, kind: Kind, number: int) -> tuple[Any, ...]:
    return table.c.study_uuid == study_uuid, table.c.kind == kind, table.c.number == number


def _changed(result: Any) -> bool:
    return cast("CursorResult[Any]", result).rowcount == 1


def _one(row: Row[Any] | None) -> Lease | None:
    return None if row is None else _from_row(row)


def _from_row(row: Row[Any]) -> Lease:
    return Lease(**row._mapping)
