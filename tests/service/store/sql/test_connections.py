"""How many connections the services of one PostgreSQL may open, and what is said where they are too many."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, text

from service.app import create_app
from service.settings import Settings
from service.store.sql.connections import CHANNEL, MAX_CONNECTIONS, n_services, what_lacks
from service.store.sql.engine import open_engine
from tests.conftest import FakeClock

pytestmark = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
ALLOWED = 100 - 3 - 5
"""PostgreSQL's own defaults, less what is left to others."""


@contextmanager
def running(url: str, max_connections: int) -> Iterator[None]:
    """A service that may open so many, and listens."""
    engine = open_engine(url, max_connections)
    with engine.connect() as listening:
        listening.exec_driver_sql(f"LISTEN {CHANNEL}")
        yield
    engine.dispose()


def lacking(engine: Engine, starting: int | None) -> str:
    with engine.connect() as connection:  # within one transaction PostgreSQL shows the same connections
        return what_lacks(connection, starting) or ""


def here(engine: Engine) -> int:
    with engine.connect() as connection:
        return n_services(connection)


def test_one_service_fits_and_two_are_told_what_to_set(engine: Engine, database_url: str) -> None:
    with engine.connect() as connection:
        assert connection.execute(text("SHOW max_connections")).scalar_one() == "100"
    assert lacking(engine, MAX_CONNECTIONS) == lacking(engine, None) == ""
    assert lacking(engine, ALLOWED).startswith("one service may open 93 connections")
    with running(database_url, 60):
        assert here(engine) == 1
        assert lacking(engine, None) == lacking(engine, ALLOWED - 62) == ""
        assert lacking(engine, ALLOWED - 61) == (
            "the 2 services on this server may open 93 connections, and PostgreSQL has 92 for them:"
            " set SPEZIA_DATABASE_CONNECTIONS to 45 or less, or raise the server's max_connections by 1"
        )
    with running(database_url, 45):
        assert lacking(engine, 45) == "", "what it says helps"


def test_services_of_other_databases_on_the_server_count_for_room_alone(engine: Engine, postgres_server: str) -> None:
    with running(postgres_server, 60):
        assert here(engine) == 0
        assert lacking(engine, 60) != ""


def test_a_service_says_so_when_it_starts(
    settings: Settings, clock: FakeClock, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with running(database_url, 60):
        create_app(settings, clock).state.parts.store.close()
    assert "set SPEZIA_DATABASE_CONNECTIONS to 45 or less" in caplog.text


def test_a_full_pool_is_answered_with_when_to_come_again(http: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    store = http.app.state.parts.store
    narrow = open_engine(store._engine.url.render_as_string(hide_password=False), 1)
    monkeypatch.setattr(narrow.pool, "_timeout", 0.05)
    monkeypatch.setattr(store, "_for_reading", narrow)
    with narrow.connect():
        refused = http.get("/v1/studies")
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
    assert http.get("/v1/studies").status_code == 200
    narrow.dispose()
