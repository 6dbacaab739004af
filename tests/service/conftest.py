"""The real app in process, on both kinds of database, and a worker that tests drive by hand."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from service.app import create_app
from service.settings import Settings
from tests.conftest import FakeClock
from tests.service.hand_worker import HandWorker

URL = "http://127.0.0.1"


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", database_url=database_url, n_workers=0)


@pytest.fixture
def app(settings: Settings, clock: FakeClock) -> Iterator[FastAPI]:
    app = create_app(settings, clock)
    yield app
    app.state.parts.proposer.close()
    app.state.parts.store.close()


@pytest.fixture
def http(app: FastAPI) -> TestClient:
    """A client without the app's lifespan: no reaper runs but the one that a test calls."""
    return TestClient(app, base_url=URL)


@pytest.fixture
def worker(http: TestClient) -> HandWorker:
    return HandWorker(http)
