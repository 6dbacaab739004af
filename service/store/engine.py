"""How we talk to SQLite and PostgreSQL: the engine, hardened, and the clock."""

import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import Connection, Engine, create_engine, event, make_url, text

WRITING = "spezia_writing"
"""Execution option of a connection whose transaction will write."""

BUSY_SECONDS = 30.0


class Clock(Protocol):
    """Asked after the lock is held, so that two writers see time in the order of their commits."""

    def now(self, connection: Connection) -> datetime: ...


class DatabaseClock:
    """PostgreSQL's own clock, so that several services agree; on SQLite the host's."""

    def now(self, connection: Connection) -> datetime:
        if connection.dialect.name == "postgresql":
            # not now(), which stands still at the start of the transaction
            return connection.execute(text("SELECT clock_timestamp()")).scalar_one().astimezone(UTC)  # type: ignore[no-any-return]
        return datetime.now(UTC)


def open_engine(url: str) -> Engine:
    """Open ``url``; an SQLite file and its folder are made if absent.

    Raises:
        ValueError: The database is neither SQLite in a file nor PostgreSQL.
    """
    parsed = make_url(url)
    backend = parsed.get_backend_name()
    if backend == "postgresql":
        return create_engine(parsed, pool_pre_ping=True, pool_size=10, max_overflow=20)
    if backend != "sqlite" or parsed.database in (None, "", ":memory:"):
        raise ValueError(f"database {parsed.render_as_string()} is neither sqlite:///FILE nor postgresql://…")
    assert parsed.database is not None
    Path(parsed.database).absolute().parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(parsed, connect_args={"timeout": BUSY_SECONDS}, pool_size=20, max_overflow=30)
    event.listen(engine, "connect", _harden_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def wal_is_safe(version: tuple[int, int, int]) -> bool:
    """Whether ``version`` is free of the WAL-reset corruption of 3.7.0 to 3.51.2 (sqlite.org/wal.html)."""
    return version >= (3, 51, 3) or (
        version[:2] in ((3, 50), (3, 44)) and version >= ((3, 50, 7) if version[1] == 50 else (3, 44, 6))
    )


def _harden_sqlite(dbapi: Any, _record: Any) -> None:
    dbapi.isolation_level = None  # we say BEGIN ourselves
    mode = "WAL" if wal_is_safe(sqlite3.sqlite_version_info) else "DELETE"
    for pragma in (f"journal_mode={mode}", "synchronous=FULL", "foreign_keys=ON"):
        dbapi.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    # a deferred transaction that comes to write after it has read may find that somebody wrote between
    writing = connection.get_execution_options().get(WRITING, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")
