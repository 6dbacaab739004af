"""All statements on `web_session`: who has signed in to the pages, by the hash of the session's token."""

from datetime import datetime

from sqlalchemy import delete, insert, select

from service.store.sql.tables import web_session
from service.store.transaction import Transaction


def add(tx: Transaction, sha256: str, key_id: str, expires_at: datetime) -> None:
    """Store a new session of a key."""
    row = {"sha256": sha256, "key_id": key_id, "created_at": tx.now, "expires_at": expires_at}
    tx.connection.execute(insert(web_session), row)


def find_key_id(tx: Transaction, sha256: str) -> str | None:
    """Return the id of the key that a session was begun with; ``None`` if there is none or it has expired."""
    wanted = select(web_session.c.key_id).where(web_session.c.sha256 == sha256, web_session.c.expires_at > tx.now)
    return tx.connection.execute(wanted).scalar_one_or_none()


def remove(tx: Transaction, sha256: str) -> None:
    """End a session, if there is one."""
    tx.connection.execute(delete(web_session).where(web_session.c.sha256 == sha256))


def forget_expired(tx: Transaction) -> None:
    """Drop the sessions that have expired."""
    tx.connection.execute(delete(web_session).where(web_session.c.expires_at <= tx.now))
