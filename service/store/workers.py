"""All statements on `worker` and `service_beat`: which workers there are, and when a service last lived."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, delete, exists, insert, or_, select, update

from service.store.sql.statements import Call, Row, Statement, as_it_is
from service.store.sql.tables import api_key, lease, service_beat, worker
from service.store.sql.upsert import insert_of
from service.store.transaction import Transaction
from spezia.contract.protocol import WorkerRegistration

KEPT = timedelta(days=30)
"""How long a worker is known after it was last heard of."""

_FIND = Statement(
    select(worker).where(worker.c.worker_id == bindparam("of_worker"), worker.c.registered_at.is_not(None))
)
_SEE = Statement(update(worker).where(worker.c.worker_id == bindparam("of_worker")))


def announce(tx: Transaction, worker_id: str, launcher: str) -> None:
    """Note a worker before it is started, so that its launcher's successor knows of it."""
    tx.connection.execute(insert(worker), {"worker_id": worker_id, "launcher": launcher, "last_seen_at": tx.now})


def register(tx: Transaction, registration: WorkerRegistration) -> None:
    """Store what a worker says of itself when it starts."""
    row = {
        "host": registration.host,
        "device": registration.device.model_dump(mode="json"),
        "versions": registration.versions,
        "registered_at": tx.now,
        "last_seen_at": tx.now,
    }
    _upsert(tx, worker, {"worker_id": registration.worker_id}, row)


def find(worker_id: str) -> Call[Row | None]:
    """Ask for the row of a registered worker; ``None`` if there is none."""
    return _FIND.first(as_it_is, of_worker=worker_id)


def see(tx: Transaction, worker_id: str) -> None:
    """Note that a worker has been heard of."""
    tx.write(_SEE.rows(of_worker=worker_id, last_seen_at=tx.now))


def seen_within(tx: Transaction, seconds: float, limit: int, after: str) -> list[Row]:
    """Return up to ``limit`` rows of registered workers that were heard of lately, by id, behind ``after``."""
    lately = (worker.c.registered_at.is_not(None), worker.c.last_seen_at >= tx.now - timedelta(seconds=seconds))
    wanted = select(worker).where(*lately, worker.c.worker_id > after).order_by(worker.c.worker_id).limit(limit)
    return list(tx.connection.execute(wanted))


def all_seen_within(tx: Transaction, seconds: float) -> list[Row]:
    """Return device and host of each registered worker that was heard of lately."""
    lately = (worker.c.registered_at.is_not(None), worker.c.last_seen_at >= tx.now - timedelta(seconds=seconds))
    return list(tx.connection.execute(select(worker.c.device, worker.c.host).where(*lately)))


def launched_with_leases(tx: Transaction, launcher: str) -> list[str]:
    """Return the ids of the workers that a launcher has announced and that hold leases."""
    wanted = select(lease.c.worker_id).join(worker, worker.c.worker_id == lease.c.worker_id)
    return list(tx.connection.execute(wanted.where(worker.c.launcher == launcher).distinct()).scalars())


def launched(tx: Transaction, launcher: str) -> list[Row]:
    """Return the workers of a launcher whose key is good: id, when last heard of, and whether they hold leases."""
    is_busy = exists().where(lease.c.worker_id == worker.c.worker_id).label("is_busy")
    wanted = select(worker.c.worker_id, worker.c.last_seen_at, is_busy)
    wanted = wanted.join(api_key, api_key.c.worker_id == worker.c.worker_id)
    return list(tx.connection.execute(wanted.where(worker.c.launcher == launcher, api_key.c.revoked_at.is_(None))))


def forget_old(tx: Transaction) -> int:
    """Drop workers that were not heard of for 30 days and hold no lease; return how many.

    One that comes back registers again.

    Before its first word a worker counts as heard of when it was announced.
    """
    old = or_(worker.c.last_seen_at.is_(None), worker.c.last_seen_at < tx.now - KEPT)
    holds = exists().where(lease.c.worker_id == worker.c.worker_id)
    return tx.connection.execute(delete(worker).where(old, ~holds)).rowcount


def last_alive_at(tx: Transaction) -> datetime | None:
    """Return when a service process last lived on this database; ``None``: never before."""
    return tx.connection.execute(select(service_beat.c.last_alive_at)).scalar_one_or_none()


def beat(tx: Transaction) -> None:
    """Note that a service process lives."""
    _upsert(tx, service_beat, {"beat_id": 1}, {"last_alive_at": tx.now})


def _upsert(tx: Transaction, table: Any, key: dict[str, Any], row: dict[str, Any]) -> None:
    statement = insert_of(tx.connection, table).values(**key, **row)
    tx.connection.execute(statement.on_conflict_do_update(index_elements=list(key), set_=row))
