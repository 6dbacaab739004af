"""Pause, resume, stop and cancel, at any state and again."""

from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.service.hand_worker import HandWorker, spec

VERBS = ["pause", "resume", "stop", "cancel"]


def say(http: TestClient, verb: str) -> dict[str, Any]:
    answer = http.post(f"/v1/studies/feedback/{verb}")
    assert answer.status_code == 202, answer.text
    study: dict[str, Any] = answer.json()
    return study


@pytest.fixture
def held(http: TestClient, worker: HandWorker) -> dict[str, Any]:
    assert http.post("/v1/studies", json=spec()).status_code == 201
    worker.prepare()
    return worker.take()


def test_a_paused_study_starts_nothing_and_lets_trials_end(
    http: TestClient, worker: HandWorker, held: dict[str, Any]
) -> None:
    assert say(http, "pause")["state"] == "paused"
    assert HandWorker(http).dispatch() == []
    worker.report(held, 1, 0.5, final=True)
    assert worker.finish(held).status_code == 200
    assert say(http, "pause")["state"] == "paused"
    assert say(http, "resume")["state"] == "running"
    assert worker.take()["number"] == 1


def test_a_stopped_study_ends_when_its_running_trials_have(
    http: TestClient, worker: HandWorker, held: dict[str, Any]
) -> None:
    assert say(http, "stop")["state"] == "stopping"
    assert say(http, "stop")["state"] == "stopping"
    assert HandWorker(http).dispatch() == []
    assert worker.heartbeat(held) == "continue"
    worker.report(held, 1, 0.5, final=True)
    worker.finish(held)
    study = say(http, "stop")
    assert (study["state"], study["trials"]["complete"]) == ("complete", 1)


def test_a_cancelled_study_tells_its_workers_within_one_heartbeat(
    http: TestClient, worker: HandWorker, held: dict[str, Any]
) -> None:
    assert say(http, "cancel")["state"] == "stopping"
    assert worker.heartbeat(held) == "cancel"
    assert worker.report(held, 1, 0.5)["directive"] == "cancel"
    worker.fail(held, "cancelled")
    assert say(http, "cancel")["state"] == "cancelled"


def test_cancelling_ends_waiting_trials_as_cancelled(http: TestClient, worker: HandWorker) -> None:
    http.post("/v1/studies", json=spec(enqueue=[{}, {}]))
    worker.prepare()
    assert say(http, "cancel")["state"] == "cancelled"
    trials = http.get("/v1/studies/feedback/trials").json()["trials"]
    assert [(trial["state"], trial["failure"]["failure_class"]) for trial in trials] == [("FAIL", "cancelled")] * 2


def test_cancelling_overrides_stopping(http: TestClient, worker: HandWorker, held: dict[str, Any]) -> None:
    say(http, "stop")
    say(http, "cancel")
    assert worker.heartbeat(held) == "cancel"


def test_a_study_can_be_cancelled_while_it_is_prepared(http: TestClient, worker: HandWorker) -> None:
    http.post("/v1/studies", json=spec())
    preparing = worker.take()
    say(http, "cancel")
    assert worker.heartbeat(preparing) == "cancel"
    failure = {"failure_class": "cancelled", "message": "told to stop"}
    worker.tell(preparing, {"kind": "prepare", "failure": failure, "device_seconds": 0.0})
    assert say(http, "cancel")["state"] == "cancelled"


@pytest.mark.parametrize("ending", ["stop", "cancel"])
@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_on_an_ended_study_has_a_clear_answer(http: TestClient, ending: str, verb: str) -> None:
    http.post("/v1/studies", json=spec())
    ended = say(http, ending)
    answer = http.post(f"/v1/studies/feedback/{verb}")
    if verb in ("pause", "resume"):
        assert (answer.status_code, answer.json()["code"]) == (409, "study-ended")
    else:
        assert answer.status_code == 202
    assert http.get("/v1/studies/feedback").json()["state"] == ended["state"]


@pytest.mark.parametrize("verb", VERBS)
def test_an_unknown_study_is_not_found(http: TestClient, verb: str) -> None:
    answer = http.post(f"/v1/studies/nobody/{verb}")
    assert (answer.status_code, answer.json()["code"]) == (404, "study-not-found")
