"""A database that one process changes as a whole: nobody else writes meanwhile, and no service runs on it."""

from sqlalchemy import Connection, text

from service.store.copy_rows import all_tables

LOCK_SECONDS = 10
"""How long it is waited for others to end their transactions."""


def lock_all(connection: Connection) -> None:
    """Keep others from writing until the transaction ends; on SQLite a transaction that writes does so anyway.

    Raises:
        OperationalError: Others have held a table for too long.
    """
    if connection.dialect.name == "postgresql":
        names = ", ".join(connection.dialect.identifier_preparer.quote(table.name) for table in all_tables())
        connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'"))
        connection.execute(text(f"LOCK TABLE {names} IN EXCLUSIVE MODE"))
