"""Databases, a clock that tests move by hand, and a store on both kinds of database."""

import gc
import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event

from service.store.sql.engine import open_engine
from service.store.sql.migrate import migrate
from service.store.store import Store
from tests import postgres

pytest_plugins = ["tests.hangs"]

START = datetime(2026, 11, 22, 12, tzinfo=UTC)


def pytest_collection_finish() -> None:
    """Let no collection of garbage look at what is loaded by now: libraries and tests, a million objects."""
    gc.collect()
    gc.freeze()


class FakeClock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.instant = START

    def asked_of(self, _database: str) -> None:
        """Not the database: this clock is moved by hand."""

    def now(self) -> datetime:
        return self.instant

    def advance(self, seconds: float) -> None:
        self.instant += timedelta(seconds=seconds)


@pytest.fixture(scope="module", autouse=True)
def no_waiting_for_disks() -> Iterator[None]:
    """Let what this process writes reach the disk when it may: the files die with their test.

    A commit on SQLite waits milliseconds for the disk, and a test has dozens. Where durability is what is tested, a
    module has a fixture of this name that does nothing.
    """
    event.listen(Engine, "engine_connect", _wait_for_no_disk)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(os, "fsync", lambda _descriptor: None)
        yield
    event.remove(Engine, "engine_connect", _wait_for_no_disk)


def _wait_for_no_disk(connection: Connection) -> None:
    if connection.dialect.name == "sqlite" and "waits_for_no_disk" not in connection.info:
        connection.info["waits_for_no_disk"] = True  # as long as the connection is in its pool
        connection.connection.cursor().execute("PRAGMA synchronous=OFF")


class CompiledStatements(dict[Any, Any]):
    """SQLAlchemy's cache of compiled statements, for all engines on one kind of database: by itself each has its own.

    A statement takes a millisecond to compile, and most tests open an engine.
    """

    def get(self, key: Any, default: Any = None) -> Any:
        return super().get(_of_kind(key), default)

    def __setitem__(self, key: Any, compiled: Any) -> None:
        super().__setitem__(_of_kind(key), compiled)


def _of_kind(key: Any) -> Any:
    dialect, *statement = key
    return dialect.loaded_dbapi, dialect.server_version_info, *statement


@pytest.fixture(scope="session", autouse=True)
def compiled_statements() -> Iterator[None]:
    """Let engines share what they compile."""
    compiled = CompiledStatements()

    def share(connection: Connection) -> None:
        connection.execution_options(compiled_cache=compiled)

    event.listen(Engine, "engine_connect", share)
    yield
    event.remove(Engine, "engine_connect", share)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    with postgres.server() as url:
        yield url


@pytest.fixture(scope="session")
def migrated_postgres(postgres_server: str) -> Iterator[str]:
    """A database that has run all migrations, to be copied: a tenth of the time."""
    with postgres.database(postgres_server) as url:
        _migrate(url)
        yield url


@pytest.fixture(scope="session")
def reused_postgres(postgres_server: str, migrated_postgres: str) -> Iterator[postgres.ReusedDatabase]:
    reused = postgres.ReusedDatabase(postgres_server, migrated_postgres)
    yield reused
    reused.drop()


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that has run all migrations, to be copied: 1 ms instead of 60."""
    path = tmp_path_factory.mktemp("sqlite") / "migrated.db"
    _migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database of each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
    else:
        with postgres.database(request.getfixturevalue("postgres_server")) as url:
            yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a migrated database of each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{shutil.copyfile(request.getfixturevalue('migrated_sqlite'), tmp_path / 'spezia.db')}"
    else:
        with request.getfixturevalue("reused_postgres").lent() as url:
            yield url


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = open_engine(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def store(engine: Engine, clock: FakeClock) -> Store:
    return Store(engine, clock)


def _migrate(url: str) -> None:
    engine = open_engine(url)
    migrate(engine)
    engine.dispose()
