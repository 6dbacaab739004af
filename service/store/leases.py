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

from service.lease_and_heartbeat_terms import GRACE_SECONDS, LEASE_SECONDS
from service.store.optuna.tables import trials
from service.store.sql.statements import Call, Row, Statement
from service.store.sql.tables import lease, study_spec
from service.store.transaction import Transaction
from spezia.contract.confirm import MAX_SEEDS

Kind = Literal["prepare", "probe", "small", "trial", "replay", "confirm", "score"]
"""What a lease is for: the study's preparation, measuring its similarity and timing steps (``probe``), a pilot
(``small``), a trial, the replay of one, a run that confirms one under a fresh seed (``confirm``), or scoring the
winner."""
IS_OF_SEARCH = lease.c.kind != "replay"
"""Whether a lease is part of its study's search: a replay holds up nothing of it and counts towards no limit."""
TERM = timedelta(seconds=LEASE_SECONDS)
"""How long a lease lasts from when it is granted or renewed."""
GRACE = timedelta(seconds=GRACE_SECONDS)
"""How long every live lease lasts from the end of an outage."""

_OWNED = (lease.c.lease_id == bindparam("of_id"), lease.c.token == bindparam("of_token"))
_FIND = Statement(select(lease).where(*_OWNED))
_RENEW = Statement(update(lease).where(*_OWNED).returning(lease))
_END = Statement(delete(lease).where(*_OWNED).returning(lease))
_ADD = Statement(insert(lease))
_OF_STUDY = Statement(
    select(lease).where(lease.c.study_uuid == bindparam("of_study"), IS_OF_SEARCH).order_by(lease.c.number)
)
_OF_WORKER = Statement(
    select(lease).where(lease.c.worker_id == bindparam("of_worker")).order_by(lease.c.study_uuid, lease.c.number)
)


@dataclass(frozen=True, kw_only=True)
class Lease:
    """The right of one worker to write to one trial, or to do other work of a study, until it expires."""

    lease_id: str
    token: str
    """Random, new for each attempt and each time the lease is handed out; never used again."""
    study_uuid: str
    kind: Kind
    number: int
    """Number of the trial; of ``prepare`` and ``probe`` 0, of ``score`` the winner's, and of ``confirm`` as
    `confirm_runs` makes it of trial and seed."""
    attempt: int
    worker_id: str
    expires_at: datetime
    is_cancelled: bool = False
    """Whether a person has cancelled this one trial."""
    reserved_seconds: float | None = None
    """Part of the study's ``device_seconds`` that is kept for it; ``None`` without such a budget."""

    @property
    def trial_number(self) -> int:
        """Number of the trial that it is for, or whose params it has."""
        return self.number // MAX_SEEDS if self.kind == "confirm" else self.number


def add(tx: Transaction, granted: Lease) -> None:
    """Store a new lease; the database refuses a second live one for the same trial."""
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
    """Take a lease away that was found expired at ``as_of``; ``None`` if it is no longer what was found.

    It may have been renewed, handed out again or ended since. The time of the look counts, and not now: a service that
    was stopped since it looked has itself kept the worker from renewing.
    """
    expired = (
        lease.c.lease_id == held.lease_id,
        lease.c.token == held.token,
        lease.c.expires_at < as_of,
    )
    row = tx.connection.execute(delete(lease).where(*expired).returning(lease)).first()
    return None if row is None else _from_row(row)


def cancel(tx: Transaction, study_uuid: str, kind: Kind, number: int) -> None:
    """Mark the live lease of a trial, or of its replay; its worker hears of it at its next heartbeat or report."""
    live = (lease.c.study_uuid == study_uuid, lease.c.kind == kind, lease.c.number == number)
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
    """Return the live leases of a study, by the number of what they are for; those of replays are left out."""
    return tx.ask(_OF_STUDY.then(_from_rows, of_study=study_uuid))


def of_worker(worker_id: str) -> Call[list[Lease]]:
    """Ask for the live leases of a worker, by study and number."""
    return _OF_WORKER.then(_from_rows, of_worker=worker_id)


def all_live(tx: Transaction) -> list[Lease]:
    """Return the live leases of all studies."""
    return _from_rows(tx.connection.execute(select(lease)))


def expired(tx: Transaction) -> list[Lease]:
    """Return the live leases of all studies that have expired, and may be reaped."""
    return _from_rows(tx.connection.execute(select(lease).where(lease.c.expires_at < tx.now)))


def of_ended_trials(tx: Transaction) -> list[Lease]:
    """Return the live leases of trials that have finished or wait: somebody else has ended them."""
    its_study = study_spec.c.uuid == lease.c.study_uuid
    its_trial = (trials.c.study_id == study_spec.c.study_id) & (trials.c.number == lease.c.number)
    held = select(lease).join(study_spec, its_study).join(trials, its_trial)
    return _from_rows(tx.connection.execute(held.where(lease.c.kind == "trial", trials.c.state != "RUNNING")))


def restart_terms(tx: Transaction) -> None:
    """Let every live lease expire one grace from now, after an outage or when the clock has jumped."""
    # row by row in the order of heartbeats, so that neither waits for the other
    ids = tx.connection.execute(select(lease.c.lease_id).order_by(lease.c.lease_id)).scalars().all()
    for lease_id in ids:
        mine = update(lease).where(lease.c.lease_id == lease_id)
        tx.connection.execute(mine.values(expires_at=tx.now + GRACE))


def reserved_seconds(tx: Transaction, study_uuid: str) -> float:
    """Return how many of its ``device_seconds`` the live leases of a study have reserved."""
    total = select(func.coalesce(func.sum(lease.c.reserved_seconds), 0.0)).where(lease.c.study_uuid == study_uuid)
    return float(tx.connection.execute(total).scalar_one())


def count_and_first_expiry(tx: Transaction) -> tuple[int, datetime | None]:
    """Return how many leases are live, and when the first of them expires or has expired."""
    row = tx.connection.execute(select(func.count(), func.min(lease.c.expires_at))).one()
    return row[0], row[1]


def _from_row(row: Row) -> Lease:
    return Lease(**row._asdict())


def _from_rows(rows: Iterable[Row]) -> list[Lease]:
    return [_from_row(row) for row in rows]
