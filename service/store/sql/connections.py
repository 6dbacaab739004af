"""Whether PostgreSQL takes as many connections as the services on it may open together.

Each connection of a service says in its name how many there may be, and each service listens on one of its own
(`listen`): so whoever starts sees how many the others may open, on all databases of the server.
"""

import re

from sqlalchemy import Connection, text

CHANNEL = "spezia_work"
"""On which services say to each other that there may be work."""

MAX_CONNECTIONS = 60
"""One for each thread that may ask at the same time (`service/routes/threads.py`, and a few of the background), so that
no worker waits for a connection that a person's call holds. Most of the time a few are open."""

RESERVE = 5
"""Connections that are left to other programs: `psql`, `spezia db`, a backup."""

_NAME = "spezia/"
_ALLOWED = text(
    "SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int"
    " - coalesce(current_setting('reserved_connections', true), '0')::int"
)
_LISTENERS = text("SELECT application_name, datname = current_database() FROM pg_stat_activity WHERE query = :listens")


def application_name(max_connections: int) -> str:
    """Return the name under which PostgreSQL lists the connections of a service that may open so many."""
    return f"{_NAME}{max_connections}"


def n_services(connection: Connection) -> int:
    """Return how many services run on a database of PostgreSQL; of SQLite that is not known, and 0."""
    if connection.dialect.name != "postgresql":
        return 0
    return sum(is_here for _, is_here in _listeners(connection))


def what_lacks(connection: Connection, starting: int | None) -> str | None:
    """Return in words what to set where PostgreSQL allows fewer connections than its services may open.

    Args:
        starting: How many a service may open that is about to start, besides the one on which it listens; ``None``:
            none is.
    """
    if connection.dialect.name != "postgresql":
        return None
    services = [_max_connections(name) for name, _ in _listeners(connection)]
    services += [] if starting is None else [starting]
    allowed = int(connection.execute(_ALLOWED).scalar_one()) - RESERVE
    n, wanted = len(services), sum(services) + len(services)
    if wanted <= allowed:
        return None
    who = "one service" if n == 1 else f"the {n} services on this server"
    each = max(allowed // n - 1, 1)
    return (
        f"{who} may open {wanted} connections, and PostgreSQL has {max(allowed, 0)} for them: set"
        f" SPEZIA_DATABASE_CONNECTIONS to {each} or less, or raise the server's max_connections by {wanted - allowed}"
    )


def _listeners(connection: Connection) -> list[tuple[str, bool]]:
    return [tuple(row) for row in connection.execute(_LISTENERS, {"listens": f"LISTEN {CHANNEL}"})]


def _max_connections(name: str) -> int:
    """What a service says that it may open; one whose URL gives it another name is taken to have the default."""
    found = re.fullmatch(rf"{_NAME}([0-9]+)", name)
    return MAX_CONNECTIONS if found is None else int(found[1])
