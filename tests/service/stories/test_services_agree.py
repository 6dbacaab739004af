"""Two services on one database say the same of it, whatever each remembers, and share its duties."""

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import Engine

from service import gate
from service.app import create_app
from service.lifecycle.keys.revoke_key import revoke_key
from service.lifecycle.leases.reap_all import reap_all
from service.lifecycle.webhooks.deliver_webhooks import deliver_webhooks
from service.settings import Settings
from service.store.store import Store
from service.webhook_sender import Message, Sent
from tests.conftest import FakeClock
from tests.faults.invariants import violations
from tests.service.conftest import URL
from tests.service.hand_worker import HandWorker, spec
from tests.service.keyed import client, id_of, make_key

on_postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
"""For what only several services at once can get wrong; on SQLite they take turns."""
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""For what is the same on both databases."""
STUDY = "/v1/studies/feedback"
QUESTIONS = [
    "/v1/studies",
    STUDY,
    f"{STUDY}/trials",
    f"{STUDY}/trials/0",
    f"{STUDY}/best",
    f"{STUDY}/curves?bands=true",
    f"{STUDY}/importances",
    f"{STUDY}/progress",
    f"{STUDY}/decisions",
    "/v1/workers",
    "/v1/webhooks",
]


@pytest.fixture
def other_app(settings: Settings, clock: FakeClock) -> Iterator[FastAPI]:
    app = create_app(settings, clock)
    yield app
    app.state.parts.proposer.close()
    app.state.parts.store.close()


@pytest.fixture
def other(other_app: FastAPI) -> TestClient:
    return TestClient(other_app, base_url=URL)


@pytest.fixture
def stores(app: FastAPI, other_app: FastAPI) -> list[Store]:
    return [one.state.parts.store for one in (app, other_app)]


@on_postgresql
def test_what_one_has_changed_the_other_says_at_once(
    http: TestClient, other: TestClient, worker: HandWorker, engine: Engine
) -> None:
    """The other has answered each question before, so that it has cached whatever it caches."""
    its_worker = HandWorker(other)
    held: dict[str, Any] = {}

    def take(by: HandWorker) -> None:
        held.update(by.take())

    deeds: list[Callable[[], Any]] = [
        lambda: http.post("/v1/studies", json=spec(n_trials=4)),
        worker.prepare,
        lambda: take(worker),
        lambda: worker.report(held, 1, 0.5),
        lambda: worker.report(held, 2, 0.4, final=True),
        lambda: worker.finish(held),
        lambda: take(its_worker),
        lambda: its_worker.report(held, 1, 0.3),
        lambda: http.patch(STUDY, json={"n_trials": 3}),
        lambda: other.post(f"{STUDY}/pause"),
        lambda: http.post(f"{STUDY}/resume"),
        lambda: its_worker.release(held),
        lambda: worker.run_trial(0.2, 0.1),
        lambda: other.post(f"{STUDY}/stop"),
        lambda: http.delete(STUDY),
        lambda: other.post("/v1/studies", json=spec(n_trials=1, seed=7)),
        its_worker.prepare,
        lambda: worker.run_trial(0.9),
    ]
    for number, deed in enumerate(deeds):
        deed()
        for question in QUESTIONS:
            mine, theirs = (_said(service, question) for service in (http, other))
            assert mine == theirs, (number, question)
    assert http.get(STUDY).json()["state"] == "complete"
    assert violations(engine) == []


def _said(service: TestClient, question: str) -> tuple[int, Any]:
    answer = service.get(question)
    assert answer.status_code < 500, answer.text
    said = answer.json()
    said.pop("request_id", None)
    return answer.status_code, said


@on_sqlite
def test_a_key_that_is_revoked_at_one_is_refused_at_both_within_five_seconds(
    app: FastAPI, other_app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert gate.REMEMBERED_SECONDS <= 5.0
    now = 100.0
    for service in (app, other_app):
        monkeypatch.setattr(service.state.gate, "_timer", lambda: now)
    key, admin = make_key(app, "alice", "write"), make_key(app, "root", "admin")
    both = [client(service, key) for service in (app, other_app)]
    assert [one.get("/v1/studies").status_code for one in both] == [200, 200]
    revoke_key(app.state.parts.store, id_of(key))
    now += 5.0
    assert [one.get("/v1/studies").status_code for one in both] == [401, 401]
    assert client(other_app, admin).get("/v1/studies").status_code == 200


@on_sqlite
def test_a_session_begun_at_one_is_good_at_both_and_ends_at_both(
    app: FastAPI, other_app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    for service in (app, other_app):
        monkeypatch.setattr(service.state.gate, "_timer", lambda: now)
    key = make_key(app, "alice", "write")
    browser, elsewhere = client(app), client(other_app)
    headers = {"Origin": URL, "Accept": "text/html"}
    browser.post("/sign-in", data={"key": key, "next": "/"}, headers=headers, follow_redirects=False)
    elsewhere.cookies.update(browser.cookies)
    assert elsewhere.get("/v1/studies").status_code == 200
    revoke_key(app.state.parts.store, id_of(key))
    now += 5.0
    assert [one.get("/v1/studies").status_code for one in (browser, elsewhere)] == [401, 401]


@on_postgresql
def test_an_expired_lease_is_taken_back_by_one_of_two_reapers(
    http: TestClient, stores: list[Store], clock: FakeClock, engine: Engine
) -> None:
    assert http.post("/v1/studies", json=spec(n_trials=6)).status_code == 201
    HandWorker(http).prepare()
    for store in stores:
        reap_all(store)
    for _ in range(2):
        for _ in range(6):
            HandWorker(http).take()
        for _ in range(3):
            clock.advance(31.0)
            begins = threading.Barrier(2)

            def reap(store: Store, begins: threading.Barrier = begins) -> None:
                begins.wait()
                reap_all(store)

            with ThreadPoolExecutor(2) as pool:
                list(pool.map(reap, stores))
    reaped = sum(store.metrics.leases_reaped._value.get() for store in stores)
    assert reaped == 12
    attempts = [len(http.get(f"{STUDY}/trials/{number}").json()["attempts"]) for number in range(6)]
    assert attempts == [2] * 6
    assert violations(engine) == []


@on_postgresql
def test_each_message_is_posted_by_one_of_two_services(
    http: TestClient, stores: list[Store], worker: HandWorker
) -> None:
    posted: list[tuple[str, int]] = []

    def send(message: Message) -> Sent:
        posted.append((message.message_id, json.loads(message.body)["data"].get("number", -1)))
        return Sent(204, None)

    for port in (1, 2):
        url = f"https://hooks.example:{port}/in"
        assert http.post("/v1/webhooks", json={"url": url, "events": ["trial.finished"]}).status_code == 201
    assert http.post("/v1/studies", json=spec(n_trials=4)).status_code == 201
    worker.prepare()

    def deliver(store: Store) -> None:
        with ThreadPoolExecutor(2) as threads:
            for _ in range(4):
                deliver_webhooks(store, send, threads)

    with ThreadPoolExecutor(2) as pool:
        for _ in range(4):
            worker.run_trial(0.5)
            list(pool.map(deliver, stores))
    assert len(posted) == len(set(posted)) == 8
    assert sorted(number for _, number in posted) == [0, 0, 1, 1, 2, 2, 3, 3]


@on_postgresql
def test_a_study_of_one_name_is_made_once_by_requests_to_both(http: TestClient, other: TestClient) -> None:
    for number in range(5):
        begins = threading.Barrier(2)

        def post(service: TestClient, seed: int, number: int = number, begins: threading.Barrier = begins) -> int:
            begins.wait()
            return service.post("/v1/studies", json=spec(name=f"study-{number}", seed=seed)).status_code

        with ThreadPoolExecutor(2) as pool:
            assert sorted(pool.map(post, (http, other), (1, 2))) == [201, 409]


@on_postgresql
def test_a_worker_that_waits_at_one_is_woken_by_work_made_at_the_other(
    app: FastAPI, other: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.routes.wait_for_work.POLL_SECONDS", 60.0)
    with TestClient(app, base_url=URL) as with_duties, ThreadPoolExecutor(1) as pool:
        worker = HandWorker(with_duties)
        asked = pool.submit(worker.dispatch, wait_seconds=20.0)
        made = 0
        while not asked.done() and made < 20:  # the first may come before the service listens
            made += 1
            assert other.post("/v1/studies", json=spec(name=f"study-{made}")).status_code == 201
            threading.Event().wait(0.5)
        assert [one["kind"] for one in asked.result(30.0)] == ["prepare"]
    assert made < 20
