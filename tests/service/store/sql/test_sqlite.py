"""SQLite in WAL mode where its library is free of the bug, and other programs with a SQLite of their own."""

import logging
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from service.store.sql import sqlite
from service.store.sql.engine import open_engine
from service.store.sql.migrate import is_current, migrate

READER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN")
n_studies = connection.execute("SELECT count(*) FROM studies").fetchone()[0]
connection.execute(sys.argv[2])
print(n_studies, flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module", autouse=True)
def no_waiting_for_disks() -> None:
    """What a connection is set up with is the question here."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    if not sqlite.wal_is_safe(sqlite.library.sqlite_version_info):
        pytest.skip("this SQLite has the WAL bug")
    return tmp_path / "spezia.db"


@pytest.fixture
def opened(path: Path) -> Iterator[Engine]:
    engine = open_engine(f"sqlite:///{path}")
    migrate(engine)
    yield engine
    engine.dispose()


@contextmanager
def another_program(path: Path, then: str = "") -> Iterator[int]:
    """One that begins to read with Python's own SQLite, and stays; gives how many studies it saw."""
    command = [sys.executable, "-c", READER, str(path), then]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())


def ask(engine: Engine, pragma: str) -> object:
    with engine.connect() as connection:
        return connection.execute(text(f"PRAGMA {pragma}")).scalar_one()


def add_studies(engine: Engine, n: int) -> None:
    """In as many commits."""
    for _ in range(n):
        with engine.connect().execution_options(**{sqlite.WRITING: True}) as connection, connection.begin():
            connection.execute(text("INSERT INTO studies (study_name) VALUES (hex(randomblob(200)))"))


def n_studies(engine: Engine) -> int:
    with engine.connect() as connection:
        return int(connection.execute(text("SELECT count(*) FROM studies")).scalar_one())


def write_without_wal(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A migrated database of a machine whose SQLite has the bug."""
    with monkeypatch.context() as patch:
        patch.setattr(sqlite, "wal_is_safe", lambda _version: False)
        engine = open_engine(f"sqlite:///{path}")
        migrate(engine)
        assert ask(engine, "journal_mode") == "persist"
        engine.dispose()


def test_every_connection_is_durable_and_keeps_foreign_keys(opened: Engine) -> None:
    with opened.connect() as first, opened.connect() as second:
        for connection in (first, second):
            found = [
                connection.execute(text(f"PRAGMA {name}")).scalar_one()
                for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
            ]
            assert found == ["wal", 2, 1, 30_000]


def test_the_last_one_to_close_leaves_one_file(opened: Engine, path: Path) -> None:
    add_studies(opened, 1)
    assert path.with_name("spezia.db-wal").stat().st_size > 0
    opened.dispose()
    assert [file.name for file in path.parent.glob("spezia.db*")] == ["spezia.db"]


def test_a_database_with_a_rollback_journal_is_converted(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_without_wal(path, monkeypatch)
    engine = open_engine(f"sqlite:///{path}")
    assert ask(engine, "journal_mode") == "wal"
    with engine.connect() as connection:
        assert is_current(connection)
    engine.dispose()
    write_without_wal(path, monkeypatch)  # and back again


def test_a_file_that_another_program_reads_at_the_moment_is_converted_later(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write_without_wal(path, monkeypatch)
    monkeypatch.setattr(sqlite, "CONVERSION_SECONDS", 0.01)
    engine = open_engine(f"sqlite:///{path}")
    with another_program(path), caplog.at_level(logging.WARNING):
        assert [ask(engine, "journal_mode"), ask(engine, "busy_timeout")] == ["delete", 30_000]
        assert n_studies(engine) == 0
    assert "while another process uses the file: database is locked" in caplog.text
    with engine.connect() as before:
        with another_program(path, "COMMIT"):  # which has it open, and does nothing
            migrate(engine)
            add_studies(engine, 1)
            assert ask(engine, "journal_mode") == "wal"
        assert before.execute(text("SELECT count(*) FROM studies")).scalar_one() == 1
    engine.dispose()


def test_another_program_reads_what_is_committed_and_holds_up_nobody(opened: Engine, path: Path) -> None:
    add_studies(opened, 2)
    with another_program(path) as seen:
        assert seen == 2
        add_studies(opened, 3)
        assert n_studies(opened) == 5
        with another_program(path) as seen_later:
            assert seen_later == 5


def test_a_log_that_a_long_reader_let_grow_is_cut_back(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "CHECKPOINT_PAGES", 20)
    monkeypatch.setattr(sqlite, "LOG_BYTES", 200_000)
    engine = open_engine(f"sqlite:///{path}")
    migrate(engine)
    log = path.with_name("spezia.db-wal")
    add_studies(engine, 40)
    assert log.stat().st_size <= 200_000
    with another_program(path):
        add_studies(engine, 40)
        assert log.stat().st_size > 200_000
    add_studies(engine, 2)
    assert log.stat().st_size <= 200_000
    assert n_studies(engine) == 82
    engine.dispose()


@pytest.mark.parametrize(
    ("version", "safe"),
    [
        ((3, 40, 1), False),
        ((3, 44, 5), False),
        ((3, 44, 6), True),
        ((3, 50, 6), False),
        ((3, 50, 7), True),
        ((3, 51, 2), False),
        ((3, 51, 3), True),
        ((3, 52, 0), True),
    ],
)
def test_wal_only_where_sqlite_is_free_of_its_bug(version: tuple[int, int, int], safe: bool) -> None:
    assert sqlite.wal_is_safe(version) == safe
