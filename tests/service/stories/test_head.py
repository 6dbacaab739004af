"""HEAD is answered wherever GET is, with the same status and headers and no body."""

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from tests.service.hand_worker import HandWorker, spec
from tests.service.keyed import client_of

STUDY = "/v1/studies/feedback"
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
pytestmark = on_sqlite


@pytest.fixture
def paths(http: TestClient, worker: HandWorker) -> dict[str, str]:
    """A path of each route of GET that can be called with what is there: a study with one model, and a data set."""
    csv = "text,label\n" + "".join(f"line {index},{index % 2}\n" for index in range(4))
    sha256 = http.post("/v1/datasets", content=csv).json()["sha256"]
    http.post("/v1/studies", json=spec(n_trials=1))
    worker.prepare()
    held = worker.take()
    worker.report(held, 1, 0.5, final=True)
    worker.upload(held, "weights.bin", b"model")
    worker.finish(held)
    webhook = http.post("/v1/webhooks", json={"url": "https://hooks.example/in"}).json()["webhook_id"]
    known = {"name": "feedback", "number": "0", "sha256": sha256, "webhook_id": webhook, "file": "weights.bin"}
    known |= {"lease_id": held["lease_id"], "kind": "history"}
    schema = http.get("/openapi.json").json()
    return {path: path.format(**known) for path, methods in schema["paths"].items() if "get" in methods}


def test_head_is_answered_as_get_without_the_body(http: TestClient, paths: dict[str, str]) -> None:
    seen = set()
    for path in [*paths.values(), "/docs", "/openapi.json", "/v1/studies/nobody", "/none"]:
        if path.endswith("/events"):
            continue
        got, head = http.get(path), http.head(path)
        assert (head.status_code, head.content) == (got.status_code, b""), path
        for name in ("content-type", "cache-control", *(["content-length"] if path != "/metrics" else [])):
            assert head.headers.get(name) == got.headers.get(name), (path, name)
        seen.add(got.status_code)
    assert seen >= {200, 404}


def test_head_of_what_is_only_posted_is_405(http: TestClient) -> None:
    answer = http.head("/v1/leases/heartbeat")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def test_head_of_a_stream_that_does_not_end_is_answered(http: TestClient) -> None:
    http.post("/v1/studies", json=spec())
    answer = http.head(f"{STUDY}/events")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"].startswith("text/event-stream")


def test_head_needs_the_key_that_get_needs(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.gate.OPEN_SECONDS", 0.0)
    reader, worker = client_of(app, "alice", "read"), client_of(app, "gpu", "worker")
    assert [who.head("/v1/studies").status_code for who in (reader, worker)] == [200, 403]
    assert TestClient(app, base_url="http://127.0.0.1").head("/v1/studies").status_code == 401
