"""All statements on `lease`: the right to write to one trial for a while. `attempts` begins one and grants it.

The token is the authority. It is compared in the statement that writes, or under the lock of the study, which whoever
ends a lease or hands it out again holds. Expiry is only permission to reap. A lease whose row is gone is stale,
whatever its clock says.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from uuid import uuid4

from sqlalchemy import bindparam, delete, func, insert, select, update

from service.lease_terms import GRACE_SECONDS, LEASE_SECONDS
from service.store.sql.statements import Call, Row, Statement
from service.store.sql.tables import lease
from service.store.transaction import Transaction

Kind = Literal["prepare", "small", "trial", "score"]
TERM = timedelta(seconds=LEASE_SECONDS)
GRACE = timedelta(seconds=GRACE_SECONDS)

_OWNED = (lease.c.lease_id == bindparam("of_id"), lease.c.token == bindparam("of_token"))
_FIND = Statement(select(lease).where(*_OWNED))
_RENEW = Statement(update(lease).where(*_OWNED).returning(lease))
_END = Statement(delete(lease).where(*_OWNED).returning(lease))
_ADD = Statement(insert(lease))
_OF_STUDY = Statement(select(lease).where(lease.c.study_uuid == bindparam("of_study")).order_by(lease.c.number))
_OF_WORKER = Statement(
    select(lease).where(lease.c.worker_id == bindparam("of_worker")).order_by(lease.c.study_uuid, lease.c.number)
)


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
    is_cancelled: bool = False
    """A person has cancelled this one trial."""
    reserved_seconds: float | None = None
    """Of the study's ``device_seconds``; ``None`` where it has no such budget."""


def add(tx: Transaction, granted: Lease) -> None:
    """Store a new lease. At most one live lease for a trial: the database refuses two."""
    tx.write(_ADD.rows(**granted.__dict__))


def hand_out_again(tx: Transaction, study_uuid: str, worker_id: str, slots: int) -> list[Lease]:
    """Give a worker that asks again up to ``slots`` of its unfinished leases of one study: same attempt, new token.

    The tokens of those that are not handed out stay good.
    """
    again = []
    own = [held for held in tx.ask(of_worker(worker_id)) if held.study_uuid == study_uuid]
    for held in sorted(own[:slots], key=lambda one: one.lease_id):  # in the order of heartbeats: no deadlock
        renewed = {"token": uuid4().hex, "expires_at": tx.now + TERM}
        owned = (lease.c.lease_id == held.lease_id, lease.c.token == held.token)
        if tx.connection.execute(update(lease).where(*owned).values(**renewed)).rowcount == 1:
            again.append(Lease(**(held.__dict__ | renewed)))
    return sorted(again, key=lambda one: one.number)


def renew(lease_id: str, token: str, now: datetime) -> Call[Lease | None]:
    """Ask to extend a lease to a full term from ``now``, expired or not; ``None`` if it is stale."""
    return _RENEW.first(_from_row, of_id=lease_id, of_token=token, expires_at=now + TERM)


def end(lease_id: str, token: str) -> Call[Lease | None]:
    """Ask to take the right to write away from its holder, who gives it up; ``None`` if the lease is stale."""
    return _END.first(_from_row, of_id=lease_id, of_token=token)


def reap(tx: Transaction, held: Lease, as_of: datetime) -> Lease | None:
    """Take a lease away that was found expired at ``as_of``.

    ``None`` if it was renewed, handed out again or ended meanwhile. Not as of now: a service that was stopped
    since it looked has itself kept the worker from renewing.
    """
    expired = (
        lease.c.lease_id == held.lease_id,
        lease.c.token == held.token,
        lease.c.expires_at < as_of,
    )
    row = tx.connection.execute(delete(lease).where(*expired).returning(lease)).first()
    return None if row is None else _from_row(row)


def cancel(tx: Transaction, study_uuid: str, number: int) -> None:
    """Mark the live lease of a trial; its worker hears of it at its next heartbeat or report."""
    live = (lease.c.study_uuid == study_uuid, lease.c.kind == "trial", lease.c.number == number)
    tx.connection.execute(update(lease).where(*live).values(is_cancelled=True))


def forget_study(tx: Transaction, study_uuid: str) -> None:
    """Drop the leases of a study: whoever holds one is stale from now on."""
    of_study = lease.c.study_uuid == study_uuid
    # in the order in which heartbeats renew, so that the two cannot wait for each other
    tx.connection.execute(select(lease.c.lease_id).where(of_study).order_by(lease.c.lease_id).with_for_update())
    tx.connection.execute(delete(lease).where(of_study))


def find(lease_id: str, token: str) -> Call[Lease | None]:
    """Ask for a lease; ``None`` if it is stale."""
    return _FIND.first(_from_row, of_id=lease_id, of_token=token)


def of_study(tx: Transaction, study_uuid: str) -> list[Lease]:
    """Live leases of a study, by the number of what they are for."""
    return tx.ask(_OF_STUDY.then(_from_rows, of_study=study_uuid))


def of_worker(worker_id: str) -> Call[list[Lease]]:
    """Ask for the live leases of a worker, by study and number."""
    return _OF_WORKER.then(_from_rows, of_worker=worker_id)


def all_live(tx: Transaction) -> list[Lease]:
    """Leases of all studies that nobody has ended or reaped."""
    return _from_rows(tx.connection.execute(select(lease)))


def expired(tx: Transaction) -> list[Lease]:
    """Leases of all studies that may be reaped."""
    return _from_rows(tx.connection.execute(select(lease).where(lease.c.expires_at < tx.now)))


def restart_terms(tx: Transaction) -> None:
    """After an outage, or when the clock has jumped: every live lease expires one grace from now."""
    # row by row in the order of heartbeats, so that neither waits for the other
    ids = tx.connection.execute(select(lease.c.lease_id).order_by(lease.c.lease_id)).scalars().all()
    for lease_id in ids:
        mine = update(lease).where(lease.c.lease_id == lease_id)
        tx.connection.execute(mine.values(expires_at=tx.now + GRACE))


def reserved_seconds(tx: Transaction, study_uuid: str) -> float:
    """What the live leases of a study have reserved of its ``device_seconds``."""
    total = select(func.coalesce(func.sum(lease.c.reserved_seconds), 0.0)).where(lease.c.study_uuid == study_uuid)
    return float(tx.connection.execute(total).scalar_one())


def count_and_first_expiry(tx: Transaction) -> tuple[int, datetime | None]:
    """How many leases are live, and when the first of them expires or has expired."""
    row = tx.connection.execute(select(func.count(), func.min(lease.c.expires_at))).one()
    return row[0], row[1]


def _from_row(row: Row) -> Lease:
    return Lease(**row._asdict())


def _from_rows(rows: Iterable[Row]) -> list[Lease]:
    return [_from_row(row) for row in rows]
