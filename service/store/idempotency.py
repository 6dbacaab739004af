"""All statements on `idempotency_key`: answers that a repeated request gets again."""

import hashlib
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import delete, select, update

from service.store.sql.tables import idempotency_key
from service.store.sql.upsert import insert_of
from service.store.transaction import Transaction

KEPT = timedelta(hours=24)
_IN_FLIGHT = 0


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The answer to a request that carried an ``Idempotency-Key``."""

    status: int
    body: str
    """Body of the answer, as JSON."""
    kept_body: str
    """Body as it is stored and given again: without secrets."""
    location: str | None = None


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A stored answer, with the hash of the request that it answers."""

    request_sha256: str
    answer: Answer


def claim(tx: Transaction, key: str, request_sha256: str) -> Kept | None:
    """Take the viewer's ``key`` for this transaction, or return what it was used for within the last 24 hours.

    PostgreSQL waits here for a request of the same key that is still in flight; SQLite has waited before.
    """
    key = _own(tx, key)
    row = {
        "key": key,
        "request_sha256": request_sha256,
        "status": _IN_FLIGHT,
        "body": "",
        "answered_at": tx.now,
    }
    statement = insert_of(tx.connection, idempotency_key).values(**row).on_conflict_do_nothing()
    if tx.connection.execute(statement.returning(idempotency_key.c.key)).first() is not None:
        return None
    found = tx.connection.execute(select(idempotency_key).where(idempotency_key.c.key == key)).one()
    answer = Answer(status=found.status, body=found.body, kept_body=found.body, location=found.location)
    return Kept(request_sha256=found.request_sha256, answer=answer)


def keep(tx: Transaction, key: str, answer: Answer) -> None:
    """Store the answer to the request that has claimed ``key`` in this transaction."""
    claimed = update(idempotency_key).where(idempotency_key.c.key == _own(tx, key))
    kept = claimed.values(status=answer.status, body=answer.kept_body, location=answer.location)
    tx.connection.execute(kept)


def forget_old(tx: Transaction) -> None:
    """Drop answers older than 24 hours."""
    old = select(idempotency_key.c.key).where(idempotency_key.c.answered_at < tx.now - KEPT)
    # two requests that tidy up at once must not wait for each other
    ours = old.with_for_update(skip_locked=True)
    tx.connection.execute(delete(idempotency_key).where(idempotency_key.c.key.in_(ours)))


def _own(tx: Transaction, key: str) -> str:
    """Two people may draw the same key, and neither must get the other's answer."""
    return key if tx.viewer is None else hashlib.sha256(f"{tx.viewer.owner}\n{key}".encode()).hexdigest()
