"""Two people with keys: neither sees, changes or hears of the other's studies; an admin sees all, workers serve all."""

from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from tests.service.hand_worker import HandWorker, spec
from tests.service.keyed import client_of

STUDY = "/v1/studies/feedback"
CALLS: list[tuple[str, str, Any]] = [
    ("GET", STUDY, None),
    ("PATCH", STUDY, {"n_trials": 9}),
    ("DELETE", STUDY, None),
    *[("POST", f"{STUDY}/{verb}", None) for verb in ("pause", "resume", "stop", "cancel")],
    ("POST", f"{STUDY}/clone", {}),
    ("GET", f"{STUDY}/trials", None),
    ("POST", f"{STUDY}/trials", {"params": {}}),
    ("GET", f"{STUDY}/trials/0", None),
    ("GET", f"{STUDY}/trials/0/evaluations", None),
    ("POST", f"{STUDY}/trials/0/cancel", None),
    ("POST", f"{STUDY}/trials/0/retry", None),
    ("POST", f"{STUDY}/trials/0/replay", None),
    ("GET", f"{STUDY}/trials/0/replay", None),
    ("GET", f"{STUDY}/trials/0/log", None),
    ("GET", f"{STUDY}/trials/0/artifacts", None),
    ("GET", f"{STUDY}/trials/0/artifacts/weights.bin", None),
    ("GET", f"{STUDY}/best", None),
    ("GET", f"{STUDY}/best/model", None),
    ("GET", f"{STUDY}/importances", None),
    ("GET", f"{STUDY}/trials.csv", None),
    ("GET", f"{STUDY}/curves", None),
    ("GET", f"{STUDY}/plots/history", None),
    ("GET", f"{STUDY}/events", None),
]


@pytest.fixture
def alice(app: FastAPI) -> TestClient:
    return client_of(app, "alice", "write")


@pytest.fixture
def bob(app: FastAPI, alice: TestClient) -> TestClient:
    return client_of(app, "bob", "write")


@pytest.fixture
def worker(app: FastAPI, alice: TestClient) -> HandWorker:
    return HandWorker(client_of(app, "gpu", "worker"))


def told(answer: Any) -> str:
    """What an answer says, but for which request it answers."""
    return str(answer.text.replace(answer.headers["X-Request-ID"], ""))


def test_a_foreign_study_is_not_there(alice: TestClient, bob: TestClient, worker: HandWorker) -> None:
    assert alice.post("/v1/studies", json=spec(n_trials=1)).status_code == 201
    worker.prepare()
    held = worker.take()
    worker.report(held, 1, 0.5, final=True)
    worker.upload(held, "weights.bin", b"model")
    worker.finish(held)
    before = alice.get(STUDY).json()
    assert before["owner"] == "alice"
    for method, path, body in CALLS:
        answer = bob.request(method, path, json=body)
        nothing = bob.request(method, path.replace("feedback", "nothing"), json=body)
        assert (answer.status_code, answer.json()["code"]) == (404, "study-not-found"), (method, path)
        assert [told(answer).replace("feedback", "nothing"), answer.headers.keys()] == [
            told(nothing),
            nothing.headers.keys(),
        ]
    assert bob.get("/v1/studies").json()["studies"] == []
    after = alice.get(STUDY).json()
    assert {**after, "elapsed_seconds": 0} == {**before, "elapsed_seconds": 0}


def test_every_call_on_a_study_is_among_these(app: FastAPI) -> None:
    described = {
        (method.upper(), path)
        for path, methods in app.openapi()["paths"].items()
        for method in methods
        if path.startswith("/v1/studies/{name}")
    }
    known = {("{name}".join(path.split("feedback")), method) for method, path, _ in CALLS}
    known = {
        (path.replace("/0", "/{number}").replace("weights.bin", "{file}").replace("/history", "/{kind}"), method)
        for path, method in known
    }
    assert described == {(method, path) for path, method in known}


def test_lists_show_ones_own_in_pages(app: FastAPI, alice: TestClient, bob: TestClient) -> None:
    for name, owner in [("a", alice), ("b", bob), ("c", alice)]:
        owner.post("/v1/studies", json=spec(name=name))
    first = alice.get("/v1/studies", params={"limit": 1}).json()
    rest = alice.get("/v1/studies", params={"limit": 1, "page_token": first["next_page_token"]}).json()
    assert [one["name"] for one in first["studies"] + rest["studies"]] == ["a", "c"]
    assert rest["next_page_token"] is None
    admin = client_of(app, "root", "admin")
    assert [one["owner"] for one in admin.get("/v1/studies").json()["studies"]] == ["alice", "bob", "alice"]
    assert admin.delete("/v1/studies/b").status_code == 204


def test_a_name_that_is_taken_says_no_more(alice: TestClient, bob: TestClient) -> None:
    alice.post("/v1/studies", json=spec())
    for body in (spec(), spec(n_trials=9)):
        refused = bob.post("/v1/studies", json=body)
        assert (refused.status_code, refused.json()["code"]) == (409, "study-exists")
        assert "n_trials" not in refused.text
    assert alice.post("/v1/studies", json=spec()).status_code == 200


def test_keys_of_one_name_own_the_same(app: FastAPI, alice: TestClient) -> None:
    alice.post("/v1/studies", json=spec())
    assert client_of(app, "alice", "read").get(STUDY).status_code == 200


def test_a_study_of_before_the_first_key_is_the_admins(
    http: TestClient, app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.gate.OPEN_SECONDS", 0.0)
    http.post("/v1/studies", json=spec())
    assert http.get(STUDY).json()["owner"] is None
    assert client_of(app, "alice", "write").get(STUDY).status_code == 404
    assert client_of(app, "root", "admin").get(STUDY).status_code == 200


def test_one_idempotency_key_of_two_people_is_two(alice: TestClient, bob: TestClient) -> None:
    body = {key: value for key, value in spec().items() if key != "name"}
    headers = {"Idempotency-Key": "k"}
    made = [one.post("/v1/studies", json=body, headers=headers).json() for one in (alice, bob, alice)]
    assert [one["owner"] for one in made] == ["alice", "bob", "alice"]
    assert made[0]["name"] == made[2]["name"] != made[1]["name"]


def test_a_worker_serves_all_and_shows_each_their_own(
    app: FastAPI, alice: TestClient, bob: TestClient, worker: HandWorker
) -> None:
    alice.post("/v1/studies", json=spec())
    worker.prepare()
    worker.take()
    shown = {
        name: [work["study"] for work in one.get("/v1/workers").json()["workers"][0]["work"]]
        for name, one in [("alice", alice), ("bob", bob), ("root", client_of(app, "root", "admin"))]
    }
    assert shown == {"alice": ["feedback"], "bob": [], "root": ["feedback"]}
