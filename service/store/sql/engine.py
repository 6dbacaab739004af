"""How we talk to SQLite and PostgreSQL: the engine, and the clock."""

import math
import time
from datetime import UTC, datetime
from functools import partial
from typing import Any, Protocol

from sqlalchemy import URL, DateTime, Dialect, Engine, create_engine, event, func, make_url, select
from sqlalchemy.exc import ArgumentError, DisconnectionError
from sqlalchemy.pool import ConnectionPoolEntry

from service.store.sql import sqlite
from service.store.sql.connections import MAX_CONNECTIONS, application_name
from service.store.sql.statements import Call, Row, Statement

IDLE_SECONDS = 1.0
"""After how many seconds without use a connection to PostgreSQL is asked first whether it still is one."""

POOLED = 10
"""How many connections stay open once they have been needed."""

_PATIENCE = {"connect_timeout": "10", "tcp_user_timeout": "30000", "keepalives_idle": "30"}
"""Seconds for PostgreSQL to accept us and milliseconds to acknowledge what we say, where the URL says nothing else:
libpq's own default is for ever, and a service cut off from its database would hang instead of answering 503."""


class Clock(Protocol):
    """What tells a transaction the time once it holds its lock, so that instants ascend in the order of commits."""

    def asked_of(self, database: str) -> Call[datetime] | None:
        """Return how to ask this kind of database for the time; ``None``: it is not asked, and `now` tells."""
        ...

    def now(self) -> datetime:
        """Return this process's own time."""
        ...


class DatabaseClock:
    """The clock of PostgreSQL, so that several services agree; on SQLite that of the host."""

    def asked_of(self, database: str) -> Call[datetime] | None:
        """Return the question for the time to PostgreSQL; ``None`` for SQLite."""
        return _CLOCK.then(_told) if database == "postgresql" else None

    def now(self) -> datetime:
        """Return the host's time."""
        return datetime.now(UTC)


# not now(), which stands still at the start of the transaction
_CLOCK = Statement(select(func.clock_timestamp(type_=DateTime(timezone=True)).label("now")))


def _told(rows: list[Row]) -> datetime:
    told: datetime = rows[0].now
    return told.astimezone(UTC)


def parse_url(url: str) -> URL:
    """Return the parts of a database's URL, which shows itself without its password by ``render_as_string()``.

    Raises:
        ValueError: It is no URL; the message does not show it.
    """
    try:
        return make_url(url)
    except (ArgumentError, ValueError):  # the latter of a port that is no number
        raise ValueError("the database is named by no URL; write sqlite:///FILE or postgresql://…") from None


def open_engine(url: str, max_connections: int = MAX_CONNECTIONS) -> Engine:
    """Open the database of a URL; an SQLite file and its folder are made if absent.

    Errors of the engine do not show parameters of statements, as some are tokens.

    Args:
        max_connections: How many connections may be open at once; whoever needs one more waits for half a minute.

    Raises:
        ValueError: The database is neither SQLite in a file nor PostgreSQL.
    """
    parsed = parse_url(url)
    backend = parsed.get_backend_name()
    if backend == "postgresql":
        named = {"application_name": application_name(max_connections)}
        patient = parsed.update_query_dict(_PATIENCE | named | dict(parsed.query))
        pooled = min(POOLED, max_connections)
        engine = create_engine(patient, pool_size=pooled, max_overflow=max_connections - pooled, hide_parameters=True)
        event.listen(engine, "checkin", _note_return)
        event.listen(engine, "checkout", partial(_ping_if_idle, engine.dialect))
        return engine
    if backend != "sqlite" or parsed.database in (None, "", ":memory:"):
        raise ValueError(f"database {parsed.render_as_string()} is neither sqlite:///FILE nor postgresql://…")
    return sqlite.open_file(parsed, max_connections)


def _note_return(_dbapi: Any, record: ConnectionPoolEntry) -> None:
    record.info["returned_at"] = time.monotonic()


def _ping_if_idle(dialect: Dialect, dbapi: Any, record: ConnectionPoolEntry, _proxy: Any) -> None:
    # SQLAlchemy's own pre-ping asks each time, and a short transaction has hardly more statements than that
    if time.monotonic() - record.info.get("returned_at", math.inf) > IDLE_SECONDS:
        try:
            dialect.do_ping(dbapi)
        except dialect.loaded_dbapi.Error as error:
            raise DisconnectionError from error  # the pool tries another one
