"""All statements on `api_key`, keys that people made and those that launchers made for workers.

A key that people made is never deleted: once there was one, keys are required for good. The key of a launched worker is
deleted with its worker, and requires nobody to have one.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, delete, exists, insert, or_, select, update

from service.store.sql.tables import api_key, worker
from service.store.transaction import Transaction
from spezia.contract.key import Scope

TOUCHED_EVERY = timedelta(minutes=1)
"""How old the noted last use of a key may become before a newer one is stored."""


_IS_OF_PEOPLE = api_key.c.worker_id.is_(None)


@dataclass(frozen=True, kw_only=True)
class KeyRow:
    """An API key as one transaction saw it."""

    key_id: str
    name: str
    scopes: frozenset[Scope]
    sha256: str
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None
    worker_id: str | None
    """Worker that a launcher made it for; ``None``: people made it."""


def add(
    tx: Transaction,
    key_id: str,
    name: str,
    scopes: frozenset[Scope],
    sha256: str,
    *,
    expires_at: datetime | None = None,
    worker_id: str | None = None,
) -> None:
    """Store a new key: its hash, never the key itself."""
    row = {"key_id": key_id, "name": name, "scopes": sorted(scopes), "sha256": sha256, "worker_id": worker_id}
    tx.connection.execute(insert(api_key), row | {"created_at": tx.now, "expires_at": expires_at})


def find(tx: Transaction, key_id: str) -> KeyRow | None:
    """Return a key by its id, revoked and expired ones too; ``None`` if there is none."""
    row = tx.connection.execute(select(api_key).where(api_key.c.key_id == key_id)).first()
    return None if row is None else _from_row(row)


def every(tx: Transaction) -> list[KeyRow]:
    """Return all keys that people made, revoked and expired ones too, oldest first."""
    of_people = select(api_key).where(_IS_OF_PEOPLE)
    return [_from_row(row) for row in tx.connection.execute(of_people.order_by(api_key.c.created_at, api_key.c.key_id))]


def any_exists(tx: Transaction) -> bool:
    """Return whether people ever made a key."""
    return tx.connection.execute(select(api_key.c.key_id).where(_IS_OF_PEOPLE).limit(1)).first() is not None


def revoke(tx: Transaction, key_id: str) -> None:
    """Refuse a key from now on; of two times the first counts."""
    wanted = (api_key.c.key_id == key_id, api_key.c.revoked_at.is_(None))
    tx.connection.execute(update(api_key).where(*wanted).values(revoked_at=tx.now))


def retire(tx: Transaction, worker_id: str) -> None:
    """Delete the key of a launched worker, which refuses it from now on."""
    tx.connection.execute(delete(api_key).where(api_key.c.worker_id == worker_id))


def retire_launched(tx: Transaction, launcher: str) -> None:
    """Delete the keys of all workers that a launcher has started."""
    launched = select(worker.c.worker_id).where(worker.c.launcher == launcher)
    tx.connection.execute(delete(api_key).where(api_key.c.worker_id.in_(launched)))


def retire_forgotten(tx: Transaction) -> None:
    """Delete the keys of launched workers that are not known any more."""
    is_known = exists().where(worker.c.worker_id == api_key.c.worker_id)
    tx.connection.execute(delete(api_key).where(api_key.c.worker_id.is_not(None), ~is_known))


def is_touched(tx: Transaction, key: KeyRow) -> bool:
    """Return whether the last use of a key was noted within the last minute."""
    return key.last_used_at is not None and tx.now - key.last_used_at < TOUCHED_EVERY


def touch(tx: Transaction, key_id: str) -> None:
    """Note that a key is in use."""
    old = or_(api_key.c.last_used_at.is_(None), api_key.c.last_used_at <= tx.now - TOUCHED_EVERY)
    tx.connection.execute(update(api_key).where(api_key.c.key_id == key_id, old).values(last_used_at=tx.now))


def _from_row(row: Row[Any]) -> KeyRow:
    return KeyRow(**row._asdict() | {"scopes": frozenset(map(Scope, row.scopes))})
