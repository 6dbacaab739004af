"""A service that lives, and a trial that a worker holds."""

from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from service.lifecycle.leases.reap import reap
from service.store.store import Store
from tests.service.hand_worker import HandWorker, spec


@pytest.fixture
def beating_store(app: FastAPI) -> Store:
    """The store of a service that has beaten once: from now on its silence would be an outage."""
    store: Store = app.state.parts.store
    reap(store)
    return store


@pytest.fixture
def held(http: TestClient, worker: HandWorker, beating_store: Store) -> dict[str, Any]:
    """A trial that ``worker`` has begun and reported once."""
    assert http.post("/v1/studies", json=spec()).status_code == 201
    worker.prepare()
    held = worker.take()
    worker.report(held, 1, 0.5)
    return held
