"""All statements on `lease` and `attempt`: the right to write to one trial for a while.

The token is the authority. It is compared in the statement that writes, or under the lock of the study, which whoever
ends a lease or hands it out again holds. Expiry is only permission to
reap. A lease whose row is gone is stale, whatever its clock says.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import uuid4

from sqlalchemy import bindparam, delete, func, insert, select, update

from service.lease_terms import GRACE_SECONDS, LEASE_SECONDS
from service.store.sql.statements import Call, Row, Statement
from service.store.sql.tables import attempt, lease
from service.store.transaction import Transaction
from spezia.contract.protocol import Resume

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
_BEGIN = Statement(insert(attempt))
_CLOSE = Statement(update(attempt).where(attempt.c.lease_id == bindparam("of_id")))


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


@dataclass(frozen=True)
class Asker:
    """The worker that wants a lease."""

    worker_id: str
    device: str


def grant(
    tx: Transaction,
    study_uuid: str,
    kind: Kind,
    number: int,
    asker: Asker,
    *,
    n_past: int,
    resume: Resume | None = None,
    reserved_seconds: float | None = None,
) -> Lease:
    """Begin the next attempt, after ``n_past`` others. At most one live lease for a trial: the database refuses two."""
    granted = Lease(
        lease_id=uuid4().hex,
        token=uuid4().hex,
        study_uuid=study_uuid,
        kind=kind,
        number=number,
        attempt=n_past + 1,
        worker_id=asker.worker_id,
        expires_at=tx.now + TERM,
        reserved_seconds=reserved_seconds,
    )
    tx.write(_ADD.rows(**granted.__dict__))
    begun = _BEGIN.rows(
        lease_id=granted.lease_id,
        study_uuid=study_uuid,
        kind=kind,
        number=number,
        attempt=granted.attempt,
        worker_id=asker.worker_id,
        device=asker.device,
        started_at=tx.now,
        is_counted=True,
        device_seconds=0.0,
        resume_attempt=resume.attempt if resume else None,
        resume_step=resume.step if resume else None,
    )
    tx.write(begun)
    return granted


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


def renew(tx: Transaction, lease_id: str, token: str) -> Call[Lease | None]:
    """Extend a lease by a full term, expired or not, unless it is stale."""
    return _RENEW.first(_from_row, of_id=lease_id, of_token=token, expires_at=tx.now + TERM)


def end(lease_id: str, token: str) -> Call[Lease | None]:
    """Take the right to write away from its holder, who gives it up; ``None`` if it is stale."""
    return _END.first(_from_row, of_id=lease_id, of_token=token)


def n_attempts(tx: Transaction, study_uuid: str, kind: Kind, number: int) -> int:
    """How often a trial, or what else has leases, was begun."""
    counted = select(func.count()).select_from(attempt).where(*_same(attempt, study_uuid, kind, number))
    return int(tx.connection.execute(counted).scalar_one())


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
    """Drop the leases and attempts of a study: whoever holds one is stale from now on."""
    of_study = lease.c.study_uuid == study_uuid
    # in the order in which heartbeats renew, so that the two cannot wait for each other
    tx.connection.execute(select(lease.c.lease_id).where(of_study).order_by(lease.c.lease_id).with_for_update())
    tx.connection.execute(delete(lease).where(of_study))
    tx.connection.execute(delete(attempt).where(attempt.c.study_uuid == study_uuid))


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
    if device_seconds is None:
        mine = attempt.c.lease_id == held.lease_id
        started_at = tx.connection.execute(select(attempt.c.started_at).where(mine)).scalar_one()
        device_seconds = max(0.0, (tx.now - started_at).total_seconds())
    closed = _CLOSE.rows(
        of_id=held.lease_id,
        ended_at=tx.now,
        end=end,
        is_counted=is_counted,
        device_seconds=device_seconds,
        token=held.token,
        outcome=outcome,
    )
    tx.write(closed)
    if end not in ("COMPLETE", "PRUNED"):
        tx.after_commit.append(tx.metrics.failures.labels(end).inc)


def accepted_outcome(tx: Transaction, lease_id: str, token: str) -> str | None:
    """The outcome that was accepted under this very token, as JSON; it makes a replay harmless."""
    ours = select(attempt.c.outcome).where(attempt.c.lease_id == lease_id, attempt.c.token == token)
    return tx.connection.execute(ours).scalar_one_or_none()


def find(lease_id: str, token: str) -> Call[Lease | None]:
    return _FIND.first(_from_row, of_id=lease_id, of_token=token)


def of_study(tx: Transaction, study_uuid: str) -> list[Lease]:
    return tx.ask(_OF_STUDY.then(_from_rows, of_study=study_uuid))


def of_worker(worker_id: str) -> Call[list[Lease]]:
    return _OF_WORKER.then(_from_rows, of_worker=worker_id)


def all_live(tx: Transaction) -> list[Lease]:
    return _from_rows(tx.connection.execute(select(lease)))


def expired(tx: Transaction) -> list[Lease]:
    return _from_rows(tx.connection.execute(select(lease).where(lease.c.expires_at < tx.now)))


def restart_terms(tx: Transaction) -> None:
    """After an outage, or when the clock has jumped: every live lease expires one grace from now."""
    # row by row in the order of heartbeats, so that neither waits for the other
    ids = tx.connection.execute(select(lease.c.lease_id).order_by(lease.c.lease_id)).scalars().all()
    for lease_id in ids:
        mine = update(lease).where(lease.c.lease_id == lease_id)
        tx.connection.execute(mine.values(expires_at=tx.now + GRACE))


def ended_ids(tx: Transaction, lease_ids: Collection[str]) -> set[str]:
    """Those of ``lease_ids`` that were leases of this database and are no more."""
    ended = select(attempt.c.lease_id).where(attempt.c.lease_id.in_(lease_ids), attempt.c.ended_at.is_not(None))
    return set(tx.connection.execute(ended).scalars())


def age_seconds(tx: Transaction, held: Lease) -> float:
    """How long the attempt of a lease has been running."""
    wanted = select(attempt.c.started_at).where(attempt.c.lease_id == held.lease_id)
    started_at: datetime = tx.connection.execute(wanted).scalar_one()
    return max(0.0, (tx.now - started_at).total_seconds())


def trial_seconds(tx: Transaction, study_uuid: str) -> tuple[float, float]:
    """Device seconds of a study's ended trial attempts, and of the longest that came to its own end."""
    of_trials = (attempt.c.study_uuid == study_uuid, attempt.c.kind == "trial")
    spent = select(func.coalesce(func.sum(attempt.c.device_seconds), 0.0)).where(*of_trials)
    whole = attempt.c.end.in_(("COMPLETE", "PRUNED", "budget"))
    longest = select(func.coalesce(func.max(attempt.c.device_seconds), 0.0)).where(*of_trials, whole)
    run = tx.connection.execute
    return float(run(spent).scalar_one()), float(run(longest).scalar_one())


def reserved_seconds(tx: Transaction, study_uuid: str) -> float:
    """What the live leases of a study have reserved of its ``device_seconds``."""
    total = select(func.coalesce(func.sum(lease.c.reserved_seconds), 0.0)).where(lease.c.study_uuid == study_uuid)
    return float(tx.connection.execute(total).scalar_one())


def count_and_first_expiry(tx: Transaction) -> tuple[int, datetime | None]:
    """How many leases are live, and when the first of them expires or has expired."""
    row = tx.connection.execute(select(func.count(), func.min(lease.c.expires_at))).one()
    return row[0], row[1]


def attempts(tx: Transaction, study_uuid: str, kind: Kind, number: int) -> list[Row]:
    """Rows of `attempt`, first to last."""
    wanted = select(attempt).where(*_same(attempt, study_uuid, kind, number)).order_by(attempt.c.attempt)
    return list(tx.connection.execute(wanted))


def resume_of(tx: Transaction, held: Lease) -> Resume | None:
    """What a trial's attempt goes on from."""
    if held.attempt == 1:
        return None
    wanted = select(attempt.c.resume_attempt, attempt.c.resume_step).where(attempt.c.lease_id == held.lease_id)
    row = tx.connection.execute(wanted).one()
    return None if row.resume_attempt is None else Resume(attempt=row.resume_attempt, step=row.resume_step)


def device_seconds(tx: Transaction, study_uuid: str) -> float:
    """Summed over all ended attempts of a study."""
    total = select(func.coalesce(func.sum(attempt.c.device_seconds), 0.0)).where(attempt.c.study_uuid == study_uuid)
    return float(tx.connection.execute(total).scalar_one())


def _same(table: Any, study_uuid: str, kind: Kind, number: int) -> tuple[Any, ...]:
    return table.c.study_uuid == study_uuid, table.c.kind == kind, table.c.number == number


def _from_row(row: Row) -> Lease:
    return Lease(**row._asdict())


def _from_rows(rows: Iterable[Row]) -> list[Lease]:
    return [_from_row(row) for row in rows]
