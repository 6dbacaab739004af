"""When a service needs a key, and how a caller shows it."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from service.app import create_app
from service.lifecycle.keys.revoke_key import revoke_key
from service.lifecycle.leases.dispatch import NOTHING, Found
from service.lifecycle.studies.follow_events import follow_events
from service.lifecycle.workers.launched_workers import launch_worker, retire_worker
from service.settings import Settings
from tests.conftest import FakeClock
from tests.service.hand_worker import HandWorker, spec
from tests.service.keyed import client, id_of, make_key

STUDIES = "/v1/studies"


@pytest.fixture
def settings(home: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """On SQLite, and with a gate that asks the database each time."""
    monkeypatch.setattr("service.gate.REMEMBERED_SECONDS", 0.0)
    monkeypatch.setattr("service.gate.OPEN_SECONDS", 0.0)
    return Settings(home=home, n_workers=0)


def test_a_service_is_open_until_the_first_key_and_never_again(app: FastAPI) -> None:
    assert client(app).get(STUDIES).status_code == 200
    assert client(app, "nonsense").get(STUDIES).status_code == 200
    key = make_key(app, "alice", "admin")
    refused = client(app).get(STUDIES)
    assert (refused.status_code, refused.json()["code"]) == (401, "unauthorized")
    assert refused.headers["www-authenticate"] == "Bearer"
    assert refused.headers["content-type"] == "application/problem+json"
    assert "SPEZIA_API_KEY" in refused.json()["detail"]
    assert client(app, key).get(STUDIES).status_code == 200
    revoke_key(app.state.parts.store, id_of(key))
    for visitor in (client(app), client(app, key)):
        assert visitor.get(STUDIES).status_code == 401


def test_a_service_that_others_can_reach_is_closed_without_any_key(tmp_path: Path) -> None:
    app = create_app(Settings(home=tmp_path, host="0.0.0.0"))
    answer = client(app).get(STUDIES, headers={"Host": "spezia.example.org"})
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
    app.state.parts.store.close()


@pytest.mark.parametrize("header", ["Basic {}", "{}", "Bearer", "Bearer  ", "Token {}"])
def test_a_key_comes_as_bearer_and_no_other_way(app: FastAPI, header: str) -> None:
    key = make_key(app, "alice", "admin")
    visitor = client(app)
    assert visitor.get(STUDIES, headers={"Authorization": header.format(key)}).status_code == 401
    assert visitor.get(STUDIES, params={"api_key": key, "access_token": key}).status_code == 401
    assert visitor.get(STUDIES, headers={"Authorization": f"bearer {key}"}).status_code == 200


def test_a_stranger_is_refused_before_the_body_is_read(app: FastAPI) -> None:
    make_key(app, "alice", "admin")
    assert client(app).post(STUDIES, content=b"{").status_code == 401


def test_the_key_of_a_launched_worker_is_for_workers_only_at_every_service_until_it_is_retired(app: FastAPI) -> None:
    store, worker_id = app.state.parts.store, "a" * 32
    key = launch_worker(store, worker_id, "here")
    assert client(app).get(STUDIES).status_code == 200, "it is no reason to need keys"
    make_key(app, "alice", "admin")
    neighbour = create_app(app.state.settings)
    for service in (app, neighbour):
        launched = client(service, key)
        assert launched.post("/v1/leases/heartbeat", json={"leases": []}).status_code == 200
        assert launched.get(STUDIES).status_code == 403
    retire_worker(store, worker_id)
    for service in (app, neighbour):
        assert client(service, key).post("/v1/leases/heartbeat", json={"leases": []}).status_code == 401
    neighbour.state.parts.store.close()


@pytest.mark.parametrize("end", ["revoke", "expire"])
def test_a_stream_of_events_ends_with_its_key(
    app: FastAPI, clock: FakeClock, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.routes.events.POLL_SECONDS", 0.01)
    key = make_key(app, "alice", "write", lasts=timedelta(hours=1))
    alice = client(app, key)
    alice.post(STUDIES, json=spec())
    n_looks = 0

    def look(*arguments: Any) -> Any:
        nonlocal n_looks
        n_looks += 1
        if n_looks == 3 and end == "revoke":
            revoke_key(app.state.parts.store, id_of(key))
        elif n_looks == 3:
            clock.advance(3601)
        return follow_events(*arguments)

    monkeypatch.setattr("service.routes.events.follow_events", look)
    assert "event: study" in alice.get(f"{STUDIES}/feedback/events").text
    assert n_looks == 3


def test_a_worker_that_waits_for_work_gets_none_after_its_key_is_revoked(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = make_key(app, "gpu", "worker")
    monkeypatch.setattr("service.routes.wait_for_work.POLL_SECONDS", 0.01)
    worker = client(app, key)
    worker_id = HandWorker(worker).worker_id

    def look(*arguments: Any, **more: Any) -> Found:
        revoke_key(app.state.parts.store, id_of(key))
        return NOTHING

    monkeypatch.setattr("service.routes.workers.dispatch", look)
    answer = worker.post(f"/v1/workers/{worker_id}/dispatch", json={"slots": 1, "wait_seconds": 30})
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
