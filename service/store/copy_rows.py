"""All rows of one database in another one, of the same kind or the other, and whether two databases hold the same.

What is copied is what is stored: JSON goes as its text, so that no value is read and written anew, and a null of SQL
stays apart from one of JSON. Ids that a database makes up go on behind the largest that it has ever given.
"""

from collections.abc import Sequence
from contextlib import closing
from itertools import zip_longest
from typing import Any

from sqlalchemy import (
    JSON,
    Connection,
    MappingResult,
    MetaData,
    RowMapping,
    Select,
    String,
    Table,
    Text,
    cast,
    collate,
    delete,
    func,
    insert,
    literal,
    select,
)
from sqlalchemy.dialects.postgresql import REGCLASS
from sqlalchemy.sql.expression import ColumnClause, TableClause

from service.failpoints import failpoint
from service.store.optuna import tables as optuna_tables
from service.store.sql.webhook_tables import webhook

ROWS_AT_ONCE = 1_000
"""How many rows are in memory at a time."""

_STAMPS = (optuna_tables.version_info, optuna_tables.alembic_version)
"""Tables of which a database has a row from its first migration on."""

_SEQUENCES = TableClause("sqlite_sequence", ColumnClause("name"), ColumnClause("seq"))
"""Where SQLite keeps the largest id of each table with AUTOINCREMENT."""


def all_tables() -> list[Table]:
    """Return Optuna's tables and ours, each behind those that it refers to."""
    return [*optuna_tables.metadata.sorted_tables, *webhook.metadata.sorted_tables]


def is_empty(connection: Connection) -> bool:
    """Return whether a migrated database holds nothing but what its migrations have written."""
    return all(
        connection.execute(select(literal(1)).select_from(table).limit(1)).first() is None
        for table in all_tables()
        if table not in _STAMPS
    )


def remove_rows(connection: Connection) -> None:
    """Drop every row of a database."""
    for table in reversed(all_tables()):
        connection.execute(delete(table))


def copy_rows(source: Connection, target: Connection) -> dict[str, int]:
    """Copy every row of a database into one that is empty; return the numbers of rows by table.

    Both have the newest schema.

    Raises:
        ValueError: PostgreSQL stores no text with a character NUL; the message names table, row and column.
    """
    n_rows: dict[str, int] = {}
    for table in _STAMPS:
        target.execute(delete(table))
    for table in all_tables():
        failpoint("copy.table")
        n_rows[table.name] = 0
        with closing(_rows(source, table)) as found:
            for rows in found.partitions(ROWS_AT_ONCE):
                (_copy_in if _is_postgresql(target) else _insert)(target, table, rows)
                n_rows[table.name] += len(rows)
    _set_last_ids(target, _last_ids(source))
    failpoint("copy.before_commit")
    return n_rows


def first_difference(one: Connection, other: Connection) -> str | None:
    """Return in words which row of two databases differs first; ``None`` if they hold the same."""
    for table in all_tables():
        with closing(_rows(one, table)) as ours, closing(_rows(other, table)) as others:
            for mine, theirs in zip_longest(ours, others):
                if mine is None or theirs is None or tuple(mine.values()) != tuple(theirs.values()):
                    return _name(table, theirs if mine is None else mine)
    return None


def _rows(connection: Connection, table: Table) -> MappingResult:
    """The rows of a table as they are stored, by their keys in an order that is the same in both kinds of database."""
    shown = [cast(column, Text).label(column.name) if isinstance(column.type, JSON) else column for column in table.c]
    key = [
        collate(column, "C") if _is_postgresql(connection) and isinstance(column.type, String) else column
        for column in table.primary_key
    ]
    options = {"stream_results": True, "yield_per": ROWS_AT_ONCE}
    return connection.execute(select(*shown).order_by(*key), execution_options=options).mappings()


def _insert(connection: Connection, table: Table, rows: Sequence[RowMapping]) -> None:
    as_text = table.to_metadata(MetaData())
    for column in as_text.c:
        if isinstance(column.type, JSON):
            column.type = Text()
    connection.execute(insert(as_text), [dict(row) for row in rows])


def _copy_in(connection: Connection, table: Table, rows: Sequence[RowMapping]) -> None:
    quote = connection.dialect.identifier_preparer.quote
    columns = ", ".join(quote(column.name) for column in table.c)
    driver: Any = connection.connection.driver_connection
    with driver.cursor() as cursor, cursor.copy(f"COPY {quote(table.name)} ({columns}) FROM STDIN") as copy:
        for row in rows:
            for column, value in row.items():
                if isinstance(value, str) and "\0" in value:
                    raise ValueError(
                        f"{_name(table, row)}: {column} holds a character NUL, which PostgreSQL does not store;"
                        " take it out of the row first (keep a copy)"
                    )
            copy.write_row(tuple(row.values()))


def _last_ids(connection: Connection) -> dict[str, int]:
    """The largest id that a database has ever made up for each table that has such ids."""
    last_ids: dict[str, int] = {}
    for table in all_tables():
        if (column := table.autoincrement_column) is None:
            continue
        largest = connection.execute(select(func.max(column))).scalar_one() or 0
        if _is_postgresql(connection):
            sequence = func.pg_get_serial_sequence(table.name, column.name)
            asked: Select[Any] = select(func.pg_sequence_last_value(cast(sequence, REGCLASS)))
        else:
            asked = select(_SEQUENCES.c.seq).where(_SEQUENCES.c.name == table.name)
        given = connection.execute(asked).scalar()
        last_ids[table.name] = max(largest, given or 0)
    return last_ids


def _set_last_ids(connection: Connection, last_ids: dict[str, int]) -> None:
    for table in all_tables():
        last, column = last_ids.get(table.name, 0), table.autoincrement_column
        if column is None or last == 0:
            continue
        if _is_postgresql(connection):
            connection.execute(select(func.setval(func.pg_get_serial_sequence(table.name, column.name), last)))
        elif table.dialect_options["sqlite"]["autoincrement"]:
            connection.execute(delete(_SEQUENCES).where(_SEQUENCES.c.name == table.name))
            connection.execute(insert(_SEQUENCES), {"name": table.name, "seq": last})


def _name(table: Table, row: RowMapping) -> str:
    """A row by its table and key, for messages."""
    key = ", ".join(f"{column.name} {row[column.name]}" for column in table.primary_key)
    return f"table {table.name}, row {key}"


def _is_postgresql(connection: Connection) -> bool:
    return connection.dialect.name == "postgresql"
