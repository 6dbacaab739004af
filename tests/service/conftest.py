"""The real app in process, on both kinds of database, and a worker that tests drive by hand."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from anyio.from_thread import start_blocking_portal
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.routing import BaseRoute, Route

from service.app import create_app
from service.settings import Settings
from tests.conftest import FakeClock
from tests.service.hand_worker import HandWorker

URL = "http://127.0.0.1"


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", database_url=database_url, n_workers=0)


@pytest.fixture
def home(tmp_path: Path, migrated_sqlite: Path) -> Path:
    """The home folder of a service that has run all migrations, for what is the same on both kinds of database."""
    return new_home(tmp_path, migrated_sqlite)


def new_home(folder: Path, migrated_sqlite: Path) -> Path:
    home = folder / "home"
    home.mkdir()
    shutil.copyfile(migrated_sqlite, home / "spezia.db")
    return home


@pytest.fixture(scope="session")
def routers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[BaseRoute]]:
    """The routers of an app, whose routes FastAPI works out at their first request: 5 ms of CPU each."""
    app = create_app(Settings(home=tmp_path_factory.mktemp("home"), n_workers=0))
    yield [route for route in app.router.routes if not isinstance(route, Route)]
    app.state.parts.proposer.close()
    app.state.parts.store.close()


@pytest.fixture
def app(settings: Settings, clock: FakeClock, routers: list[BaseRoute]) -> Iterator[FastAPI]:
    with opened(settings, clock, routers) as app:
        yield app


@contextmanager
def opened(settings: Settings, clock: FakeClock, routers: list[BaseRoute]) -> Iterator[FastAPI]:
    app = create_app(settings, clock)
    app.router.routes[-len(routers) :] = routers
    yield app
    app.state.parts.proposer.close()
    app.state.parts.store.close()


@pytest.fixture(scope="module")
def refusing(
    tmp_path_factory: pytest.TempPathFactory, migrated_sqlite: Path, routers: list[BaseRoute]
) -> Iterator[TestClient]:
    """A service for all bodies of a file that it refuses before it asks its database, and so stays as it is."""
    home = new_home(tmp_path_factory.mktemp("refusing"), migrated_sqlite)
    with opened(Settings(home=home, n_workers=0), FakeClock(), routers) as app:
        yield TestClient(app, base_url=URL)


@pytest.fixture
def http(app: FastAPI) -> Iterator[TestClient]:
    """A client without the app's lifespan: no reaper runs but the one that a test calls."""
    client = TestClient(app, base_url=URL)
    with start_blocking_portal() as client.portal:  # one event loop for all requests; without, each makes its own
        yield client


@pytest.fixture
def worker(http: TestClient) -> HandWorker:
    return HandWorker(http)
