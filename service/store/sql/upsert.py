"""The SQL INSERT … ON CONFLICT DO UPDATE, which SQLAlchemy spells once for each kind of database."""

from functools import cache, partial
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite

from service.store.sql.statements import Statement


def insert_of(connection: Connection, table: Table) -> Any:
    """Return the INSERT into a table that has ``on_conflict_do_update`` and ``on_conflict_do_nothing``."""
    return insert_into(table, connection.dialect.name)


@cache
def upsert(table: Table, *keys: str) -> Statement:
    """Return a statement that inserts a row, or overwrites the one with the same ``keys``.

    It takes all columns of the row but an id that the database makes up.
    """
    return Statement(partial(_upsert, table, keys))


def _upsert(table: Table, keys: tuple[str, ...], database: str) -> Any:
    statement = insert_into(table, database)
    others = [column for column in table.c if column.name not in keys and not column.primary_key]
    set_ = {column.name: statement.excluded[column.name] for column in others}
    return statement.on_conflict_do_update(index_elements=list(keys), set_=set_)


def insert_into(table: Table, database: str) -> Any:
    """Return the same for a kind of database, by its name."""
    return (postgresql if database == "postgresql" else sqlite).insert(table)
