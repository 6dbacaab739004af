"""Webhooks: told what happens, in order, at least once, by one service at a time."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import text

from service.app import create_app
from service.lifecycle.webhooks.deliver_webhooks import deliver_webhook, deliver_webhooks
from service.lifecycle.webhooks.retry_policy import MAX_FAILURES
from service.settings import Settings
from service.store.store import Store
from service.webhook_sender import Message, Sent
from tests.conftest import FakeClock
from tests.service.conftest import URL
from tests.service.hand_worker import HandWorker, spec
from tests.service.receiver import receiving

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""For what is the same on both databases."""


class Receiver:
    """Takes messages in place of the network."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.answers: list[Sent] = []
        """Of the next messages; then all are accepted."""
        self.meanwhile: Callable[[], object] = lambda: None

    def send(self, message: Message) -> Sent:
        self.messages.append(message)
        self.meanwhile()
        return self.answers.pop(0) if self.answers else Sent(204, None)

    def told(self) -> list[tuple[Any, ...]]:
        """Type, study, then number and state, of each message."""
        bodies = [json.loads(message.body) for message in self.messages]
        return [
            (
                one["type"],
                one["data"]["study"],
                *(one["data"][key] for key in ("number", "state") if key in one["data"]),
            )
            for one in bodies
        ]

    def ids(self) -> list[str]:
        return [message.message_id for message in self.messages]


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


@pytest.fixture
def store(app: FastAPI) -> Store:
    found: Store = app.state.parts.store
    return found


@pytest.fixture
def deliver(store: Store, receiver: Receiver) -> Iterator[Callable[[], int]]:
    with ThreadPoolExecutor(1) as threads:
        yield lambda: deliver_webhooks(store, receiver.send, threads)


def make(http: TestClient, **changes: Any) -> dict[str, Any]:
    answer = http.post("/v1/webhooks", json={"url": "https://hooks.example/in"} | changes)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    assert answer.headers["Location"] == f"/v1/webhooks/{made['webhook_id']}"
    return made


def show(http: TestClient, made: dict[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = http.get(f"/v1/webhooks/{made['webhook_id']}").json()
    return shown


def start(http: TestClient, worker: HandWorker, **changes: Any) -> None:
    assert http.post("/v1/studies", json=spec(**changes)).status_code == 201
    worker.prepare()


def test_a_study_is_told_from_start_to_end(
    http: TestClient, worker: HandWorker, receiver: Receiver, deliver: Callable[[], int]
) -> None:
    make(http)
    start(http, worker)
    worker.run_trial(0.5)
    assert deliver() == 3
    worker.run_trial(0.7)
    worker.fail(worker.take())
    assert deliver() == 3
    assert receiver.told() == [
        ("study.changed", "feedback", "running"),
        ("trial.finished", "feedback", 0, "COMPLETE"),
        ("best.improved", "feedback", 0, "COMPLETE"),
        ("trial.finished", "feedback", 1, "COMPLETE"),
        ("trial.finished", "feedback", 2, "FAIL"),
        ("study.changed", "feedback", "complete"),
    ]
    assert deliver() == 0
    assert len(set(receiver.ids())) == 6
    finished = json.loads(receiver.messages[1].body)
    assert finished["timestamp"].startswith("2026-11-22T12:00:00")
    assert finished["data"]["value"] == 0.5
    assert finished["data"]["params"].keys() == {"learning_rate"}


def test_only_what_was_asked_for_is_told_and_only_from_then_on(
    http: TestClient, worker: HandWorker, receiver: Receiver, deliver: Callable[[], int]
) -> None:
    start(http, worker)
    worker.run_trial(0.5)
    make(http, study="feedback", events=["best.improved"])
    http.post("/v1/studies", json=spec(name="another"))
    http.post("/v1/studies/another/cancel")
    assert deliver() == 0
    worker.run_trial(0.9)
    worker.run_trial(0.3)
    assert deliver() == 1
    assert receiver.told() == [("best.improved", "feedback", 2, "COMPLETE")]


def test_what_commits_late_under_a_low_sequence_is_told(
    http: TestClient, worker: HandWorker, receiver: Receiver, deliver: Callable[[], int], store: Store
) -> None:
    make(http, events=["study.changed"])
    for name in ("a", "b"):
        http.post("/v1/studies", json=spec(name=name))
    with store.writing() as tx:  # as PostgreSQL would show them: the event of `a` is not committed yet
        of_a = "(SELECT min(sequence) FROM event)"
        tx.connection.execute(text("CREATE TABLE late AS SELECT * FROM event WHERE sequence = " + of_a))
        of_study = "WHERE study_uuid = (SELECT study_uuid FROM late)"
        tx.connection.execute(text("CREATE TABLE late_progress AS SELECT * FROM webhook_progress " + of_study))
        tx.connection.execute(text("DELETE FROM webhook_progress " + of_study))
        tx.connection.execute(text("DELETE FROM event WHERE sequence = " + of_a))
    assert deliver() == 1
    with store.writing() as tx:
        tx.connection.execute(text("INSERT INTO event SELECT * FROM late"))
        tx.connection.execute(text("INSERT INTO webhook_progress SELECT * FROM late_progress"))
        tx.connection.execute(text("DROP TABLE late"))
        tx.connection.execute(text("DROP TABLE late_progress"))
    assert deliver() == 1
    assert [study for _, study, _ in receiver.told()] == ["b", "a"]


@on_sqlite
def test_a_failure_is_tried_again_ever_more_rarely_then_given_up_with_the_reason(
    http: TestClient, receiver: Receiver, deliver: Callable[[], int], clock: FakeClock
) -> None:
    made = make(http)
    http.post("/v1/studies", json=spec())
    receiver.answers = [Sent(500, "answered 500; 2xx was expected")] * MAX_FAILURES
    for n_failures in range(1, MAX_FAILURES + 1):
        assert (deliver(), len(receiver.messages)) == (0, n_failures)
        planned = min(5 * 2 ** (n_failures - 1), 3600)
        clock.advance(0.79 * planned)
        assert (deliver(), len(receiver.messages)) == (0, n_failures)
        clock.advance(0.42 * planned)
    assert len(set(receiver.ids())) == 1
    shown = show(http, made)
    assert shown["n_failures"] == MAX_FAILURES
    assert shown["disabled_reason"] == "15 attempts failed in a row; the last: answered 500; 2xx was expected"
    clock.advance(1e6)
    assert deliver() == 0
    attempts = http.get(f"/v1/webhooks/{made['webhook_id']}/deliveries").json()["deliveries"]
    assert len(attempts) == MAX_FAILURES
    assert {(one["status"], one["type"]) for one in attempts} == {(500, "study.changed")}


@on_sqlite
def test_a_receiver_that_comes_back_misses_nothing(
    http: TestClient, worker: HandWorker, receiver: Receiver, deliver: Callable[[], int], clock: FakeClock
) -> None:
    made = make(http)
    start(http, worker)
    receiver.answers = [Sent(204, None), Sent(None, "no answer"), Sent(204, None), Sent(503, "answered 503")]
    worker.run_trial(0.5)
    assert deliver() == 1
    clock.advance(7)
    assert deliver() == 1  # the trial, and then not that it is the best
    clock.advance(7)
    assert deliver() == 2
    assert [told[0] for told in receiver.told()] == [
        "study.changed",
        "trial.finished",
        "trial.finished",
        "best.improved",
        "trial.finished",
        "best.improved",
    ]
    ids = receiver.ids()
    assert ids[1] == ids[2] == ids[4]
    assert ids[3] == ids[5]
    assert (show(http, made)["n_failures"], show(http, made)["next_attempt_at"]) == (0, None)


def test_an_enabled_webhook_tells_what_it_has_missed_and_may_fail_as_often_again(
    http: TestClient, worker: HandWorker, receiver: Receiver, deliver: Callable[[], int], clock: FakeClock
) -> None:
    made = make(http, events=["study.changed", "trial.finished"])
    path = f"/v1/webhooks/{made['webhook_id']}"
    start(http, worker)
    receiver.answers = [Sent(410, "answered 410")]
    deliver()
    worker.run_trial(0.5)
    assert deliver() == 0
    enabled = http.patch(path, json={"state": "enabled"})
    assert enabled.status_code == 200
    assert enabled.json() == show(http, made)
    assert {"state": "enabled", "disabled_reason": None, "n_failures": 0}.items() <= enabled.json().items()
    assert deliver() == 2
    assert [told[0] for told in receiver.told()] == ["study.changed", "study.changed", "trial.finished"]
    worker.run_trial(0.4)
    receiver.answers = [Sent(500, "answered 500")] * 2
    deliver()
    assert show(http, made)["next_attempt_at"] is not None
    http.patch(path, json={"state": "enabled"})
    deliver()
    assert (show(http, made)["n_failures"], show(http, made)["state"]) == (1, "enabled")


@on_sqlite
def test_only_a_webhook_that_is_there_is_enabled_and_nothing_else_is_changed(http: TestClient) -> None:
    path = f"/v1/webhooks/{make(http)['webhook_id']}"
    for body in ({}, {"state": "disabled"}, {"state": "enabled", "url": "https://b.example/"}):
        assert http.patch(path, json=body).status_code == 422
    missing = http.patch("/v1/webhooks/" + "0" * 32, json={"state": "enabled"})
    assert (missing.status_code, missing.json()["code"]) == (404, "webhook-not-found")


@on_sqlite
def test_a_receiver_that_is_gone_is_believed(http: TestClient, receiver: Receiver, deliver: Callable[[], int]) -> None:
    made = make(http)
    http.post("/v1/studies", json=spec())
    receiver.answers = [Sent(410, "answered 410; 2xx was expected")]
    deliver()
    assert show(http, made)["disabled_reason"].startswith("the receiver says that it is gone")


def test_two_services_do_not_post_at_once(
    http: TestClient, app: FastAPI, settings: Settings, clock: FakeClock, receiver: Receiver
) -> None:
    made = make(http)
    http.post("/v1/studies", json=spec())
    other = create_app(settings, clock)
    theirs = Receiver()
    other_store: Store = other.state.parts.store
    receiver.meanwhile = lambda: deliver_webhook(other_store, theirs.send, made["webhook_id"])
    assert deliver_webhook(app.state.parts.store, receiver.send, made["webhook_id"]) == 1
    assert deliver_webhook(other_store, theirs.send, made["webhook_id"]) == 0
    assert theirs.messages == []
    other_store.close()


def test_who_was_too_slow_takes_nothing_back(
    http: TestClient, store: Store, clock: FakeClock, receiver: Receiver
) -> None:
    made = make(http)
    http.post("/v1/studies", json=spec())
    second = Receiver()
    n_delivered = []

    def overtake() -> None:
        clock.advance(121)
        n_delivered.append(deliver_webhook(store, second.send, made["webhook_id"]))

    receiver.meanwhile = overtake
    receiver.answers = [Sent(None, "too late")]
    deliver_webhook(store, receiver.send, made["webhook_id"])
    assert n_delivered == [1]
    assert second.ids() == receiver.ids()  # at least once: the receiver knows it by its id
    assert show(http, made)["n_failures"] == 0


@on_sqlite
def test_what_was_posted_before_a_crash_is_posted_again_after_it(
    http: TestClient, receiver: Receiver, deliver: Callable[[], int], clock: FakeClock
) -> None:
    make(http)
    http.post("/v1/studies", json=spec())

    class Crash(Exception):
        pass

    def crash() -> None:
        receiver.meanwhile = lambda: None
        raise Crash

    receiver.meanwhile = crash
    with pytest.raises(Crash):
        deliver()
    assert deliver() == 0
    clock.advance(120.001)
    assert deliver() == 1
    first, second = receiver.ids()
    assert first == second


def test_a_deleted_study_takes_its_webhooks_along_and_no_other(
    http: TestClient, worker: HandWorker, receiver: Receiver, deliver: Callable[[], int]
) -> None:
    of_all = make(http)
    http.post("/v1/studies", json=spec())
    own = make(http, study="feedback")
    http.post("/v1/studies/feedback/pause")
    http.delete("/v1/studies/feedback")
    assert deliver() == 0
    assert show(http, of_all)["state"] == "enabled"
    assert http.get(f"/v1/webhooks/{own['webhook_id']}").status_code == 404


@on_sqlite
def test_the_secret_is_shown_once(http: TestClient) -> None:
    made = make(http, study=None, events=["study.changed"])
    assert made["secret"].startswith("whsec_")
    assert made["state"] == "enabled"
    listed = http.get("/v1/webhooks").json()["webhooks"]
    assert [one["webhook_id"] for one in listed] == [made["webhook_id"]]
    for answer in (http.get("/v1/webhooks"), http.get(f"/v1/webhooks/{made['webhook_id']}"), http.get("/metrics")):
        assert made["secret"] not in answer.text
    assert http.delete(f"/v1/webhooks/{made['webhook_id']}").status_code == 204
    for path in ("", "/deliveries"):
        answer = http.get(f"/v1/webhooks/{made['webhook_id']}{path}")
        assert (answer.status_code, answer.json()["code"]) == (404, "webhook-not-found")
    assert http.delete(f"/v1/webhooks/{made['webhook_id']}").status_code == 404


@on_sqlite
@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        ({"url": "https://127.0.0.1/"}, "url"),
        ({"url": "http://169.254.169.254/latest"}, "url"),
        ({"url": "https://user:pw@a.example/"}, "url"),
        ({"url": "file:///etc/passwd"}, "url"),
        ({"url": "https://a.example/", "study": "none"}, "study"),
        ({"url": "https://a.example/", "events": []}, "events"),
        ({"url": "https://a.example/", "events": ["trial.begun"]}, "events.0"),
    ],
)
def test_what_cannot_work_is_refused(http: TestClient, wanted: dict[str, Any], field: str) -> None:
    answer = http.post("/v1/webhooks", json=wanted)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)
    assert http.get("/v1/webhooks").json()["webhooks"] == []


def test_pages_in_which_nothing_is_wanted_are_passed(
    http: TestClient, worker: HandWorker, receiver: Receiver, deliver: Callable[[], int], monkeypatch: Any
) -> None:
    monkeypatch.setattr("service.lifecycle.webhooks.deliver_webhooks.PAGE", 2)
    make(http, events=["best.improved"])
    start(http, worker, n_trials=5)
    for value in (0.5, 0.9, 0.8, 0.7):
        worker.run_trial(value)
    assert deliver() == 1
    worker.run_trial(0.1)
    assert deliver() == 1
    assert [number for _, _, number, _ in receiver.told()] == [0, 4]


def test_only_the_last_attempts_are_kept(
    http: TestClient, worker: HandWorker, receiver: Receiver, deliver: Callable[[], int], monkeypatch: Any
) -> None:
    monkeypatch.setattr("service.store.webhooks.KEPT_DELIVERIES", 2)
    made, _ = make(http), make(http)
    start(http, worker)
    worker.run_trial(0.5)
    assert deliver() == 6
    attempts = http.get(f"/v1/webhooks/{made['webhook_id']}/deliveries").json()["deliveries"]
    assert [(one["type"], one["status"], one["error"]) for one in attempts] == [
        ("best.improved", 204, None),
        ("trial.finished", 204, None),
    ]


@on_sqlite
def test_a_running_service_posts_by_itself(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.app.WEBHOOK_POLL_SECONDS", 0.01)
    allowed = Settings(**settings.model_dump() | {"webhook_networks": ["127.0.0.0/8"]})
    with receiving() as receiver, TestClient(create_app(allowed), base_url=URL) as http:
        make(http, url=f"http://127.0.0.1:{receiver.port}/in")
        http.post("/v1/studies", json=spec())
        assert receiver.arrived.wait(20)
    path, headers, body = receiver.got[0]
    assert (path, json.loads(body)["type"]) == ("/in", "study.changed")
    assert headers["webhook-signature"].startswith("v1,")
