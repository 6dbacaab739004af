"""INSERT … ON CONFLICT DO UPDATE, which SQLAlchemy spells once for each kind of database."""

from functools import cache
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite


def insert_of(connection: Connection, table: Table) -> Any:
    """Return the insert that knows ``on_conflict_…``."""
    return _insert(connection.dialect.name, table)


def upsert(connection: Connection, table: Table, keys: tuple[str, ...], row: dict[str, Any]) -> None:
    """Insert ``row``, which holds all columns but made-up ids, or overwrite the one with the same ``keys``."""
    connection.execute(_statement(connection.dialect.name, table, keys), row)


@cache
def _statement(dialect: str, table: Table, keys: tuple[str, ...]) -> Any:
    # one object a table, so that SQLAlchemy need not work out each time that it knows the statement
    statement = _insert(dialect, table)
    others = [column for column in table.c if column.name not in keys and not column.primary_key]
    set_ = {column.name: statement.excluded[column.name] for column in others}
    return statement.on_conflict_do_update(index_elements=list(keys), set_=set_)


def _insert(dialect: str, table: Table) -> Any:
    return (postgresql if dialect == "postgresql" else sqlite).insert(table)
