"""Rows of every table, copied between both kinds of database."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from shutil import copyfile
from typing import Any

import pytest
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Connection,
    DateTime,
    Enum,
    Float,
    Integer,
    Table,
    event,
    insert,
    null,
    select,
    text,
    update,
)

from service.store.copy_rows import all_tables, copy_rows, first_difference, is_empty, remove_rows
from service.store.optuna.tables import alembic_version, trials, version_info
from service.store.sql.engine import open_engine
from service.store.sql.tables import Instant, study_spec, worker
from tests.conftest import START

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""For what is the same on both databases."""
on_postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
N_ROWS = 3
TEXTS = ["plain", "quotes \" ' and \\ tab \t line \n end", "žluťoučký 🐎 \u2028 \\N \\.", "", "0"]
NUMBERS = [0.1, 1e-308, -1.7976931348623157e308, 5e-324, 3.0]
DOCUMENTS: list[Any] = [{"a": [1, 2.5, None, "ž"]}, [], "text", JSON.NULL, 0.1]


def a_value(column: Column[Any], row: int) -> Any:
    """A value of a column that differs from row to row; in the last row null, where that may be."""
    kind, last = column.type, row == N_ROWS - 1
    if column.nullable and last and not isinstance(kind, JSON):
        return None
    match kind:
        case JSON():
            return null() if column.nullable and last else DOCUMENTS[(row + len(column.name)) % len(DOCUMENTS)]
        case Enum():
            return kind.enums[row % len(kind.enums)]
        case Boolean():
            return row % 2 == 0
        case BigInteger():
            return 2**40 + row
        case Integer():
            return 1 + row
        case Float():
            return NUMBERS[(row + len(column.name)) % len(NUMBERS)]
        case Instant():
            return START + timedelta(days=row, microseconds=1)
        case DateTime():
            return (START + timedelta(days=row, microseconds=1)).replace(tzinfo=None)
        case _:
            longest = getattr(kind, "length", None) or 100
            return f"{row}{TEXTS[(row + len(column.name)) % len(TEXTS)]}"[:longest]


def fill(connection: Connection, table: Table) -> None:
    for row in range(N_ROWS):
        connection.execute(insert(table).values({column.name: a_value(column, row) for column in table.c}))


@contextmanager
def opened(url: str) -> Iterator[Connection]:
    engine = open_engine(url)
    with engine.connect() as connection, connection.begin():
        yield connection
    engine.dispose()


@pytest.fixture
def filled(migrated_sqlite: Path, tmp_path: Path) -> Iterator[Connection]:
    """A database with rows in every table; all values of every type are somewhere."""
    with opened(f"sqlite:///{copyfile(migrated_sqlite, tmp_path / 'filled.db')}") as connection:
        for table in all_tables():
            if table not in (version_info, alembic_version):
                fill(connection, table)
        connection.execute(update(version_info).values(library_version="4.2.0"))
        connection.execute(text("INSERT INTO studies (study_id, study_name) VALUES (70, 'gone')"))
        connection.execute(text("DELETE FROM studies WHERE study_id = 70"))
        yield connection


@pytest.fixture
def empty(database_url: str) -> Iterator[Connection]:
    with opened(database_url) as connection:
        yield connection


def test_every_row_of_every_table_is_copied_there_and_back(
    filled: Connection, empty: Connection, migrated_sqlite: Path, tmp_path: Path
) -> None:
    assert is_empty(empty)
    n_rows = copy_rows(filled, empty)
    assert n_rows == {table.name: 1 if table in (version_info, alembic_version) else N_ROWS for table in all_tables()}
    assert first_difference(filled, empty) is None
    with opened(f"sqlite:///{copyfile(migrated_sqlite, tmp_path / 'back.db')}") as back:
        copy_rows(empty, back)
        assert first_difference(filled, back) is None
        assert first_difference(empty, back) is None


@on_postgresql
def test_what_our_types_make_of_the_rows_is_the_same(filled: Connection, empty: Connection) -> None:
    """By another way than that by which they were copied."""
    copy_rows(filled, empty)
    for table in all_tables():
        in_order = select(table).order_by(*table.primary_key)
        assert sorted(map(repr, filled.execute(in_order))) == sorted(map(repr, empty.execute(in_order)))


@on_postgresql
def test_a_null_of_sql_and_one_of_json_stay_apart(filled: Connection, empty: Connection) -> None:
    filled.execute(update(study_spec).values(facts=JSON.NULL, failure=null()))
    copy_rows(filled, empty)
    stored = select(study_spec.c.facts.is_(null()), study_spec.c.failure.is_(null()))
    assert {tuple(row) for row in empty.execute(stored)} == {(False, True)}


def test_ids_go_on_behind_those_that_were_given(filled: Connection, empty: Connection) -> None:
    copy_rows(filled, empty)
    for table in all_tables():
        column = table.autoincrement_column
        if column is not None and table not in (version_info, alembic_version):
            values = {one.name: a_value(one, N_ROWS) for one in table.c if one is not column}
            values |= {one.name: 1 for one in table.c if one.name == "study_id" and one.foreign_keys}
            added = empty.execute(insert(table).values(values)).inserted_primary_key
            assert added is not None
            highest = 70 if table.name == "studies" else 2**40 + 2 if isinstance(column.type, BigInteger) else N_ROWS
            assert added[0] == highest + 1, table.name


@on_sqlite
def test_a_single_changed_value_is_found(filled: Connection, empty: Connection) -> None:
    copy_rows(filled, empty)
    for table in (version_info, study_spec, worker):
        for column in [column for column in table.c if not column.primary_key][:4]:
            [key] = table.primary_key
            last = empty.execute(select(key).order_by(key.desc()).limit(1)).scalar_one()
            with empty.begin_nested() as undone:
                empty.execute(update(table).where(key == last).values({column.name: a_value(column, N_ROWS + 1)}))
                assert first_difference(filled, empty) == f"table {table.name}, row {key.name} {last}", column
                undone.rollback()
    with empty.begin_nested() as undone:
        empty.execute(text("DELETE FROM trial_values WHERE trial_value_id = 3"))
        assert first_difference(filled, empty) == "table trial_values, row trial_value_id 3"
        undone.rollback()
    assert first_difference(filled, empty) is None


@on_postgresql
def test_texts_are_sorted_by_their_bytes_whatever_the_database_would_do(filled: Connection, empty: Connection) -> None:
    """As SQLite does; the server of the tests may have no other order to be tried."""
    asked: list[str] = []
    event.listen(empty.engine, "before_cursor_execute", lambda *given: asked.append(given[2]))
    first_difference(empty, empty)
    [of_workers] = {one for one in asked if "FROM worker " in one}
    assert of_workers.endswith('ORDER BY worker.worker_id COLLATE "C"')


def test_all_rows_are_dropped(filled: Connection) -> None:
    remove_rows(filled)
    assert is_empty(filled)


@on_postgresql
def test_a_text_that_postgresql_cannot_store_is_named(filled: Connection, empty: Connection) -> None:
    filled.execute(text("UPDATE trial_log SET text = 'a' || char(0) || 'b' WHERE log_id = 2"))
    with pytest.raises(ValueError, match="table trial_log, row log_id 2: text holds a character NUL"):
        copy_rows(filled, empty)


def test_each_table_has_a_key_to_be_compared_by() -> None:
    assert [table.name for table in all_tables() if not list(table.primary_key)] == []
    assert trials in all_tables()
