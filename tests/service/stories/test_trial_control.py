"""Enqueue, cancel and retry single trials."""

from typing import Any

import pytest
from fastapi.testclient import TestClient

from service.lifecycle.leases.reap import reap_worker
from tests.service.hand_worker import HandWorker, spec

STUDY = "/v1/studies/feedback"
TRIALS = f"{STUDY}/trials"
RATE = {"learning_rate": 2e-4}


@pytest.fixture
def running(http: TestClient, worker: HandWorker) -> dict[str, Any]:
    """A study of three trials whose first one runs."""
    http.post("/v1/studies", json=spec())
    worker.prepare()
    return worker.take()


def enqueue(http: TestClient, params: dict[str, Any] = RATE) -> Any:
    return http.post(TRIALS, json={"params": params})


def trial(http: TestClient, number: int) -> dict[str, Any]:
    found: dict[str, Any] = http.get(f"{TRIALS}/{number}").json()
    return found


def test_an_enqueued_trial_is_next_and_adds_to_n_trials(
    http: TestClient, worker: HandWorker, running: dict[str, Any]
) -> None:
    answer = enqueue(http)
    assert (answer.status_code, answer.headers["location"]) == (201, f"{TRIALS}/1")
    assert (answer.json()["state"], answer.json()["params"]) == ("WAITING", RATE)
    assert http.get(STUDY).json()["spec"]["n_trials"] == 4
    assert HandWorker(http).take()["params"] == RATE
    assert http.get(answer.headers["location"]).json()["state"] == "RUNNING"


@pytest.mark.parametrize("sampler", ["tpe", "gp", "random", "cmaes", "qmc", "nsga2", "nsga3", "multi-fidelity"])
def test_what_is_left_out_is_drawn_by_any_sampler(http: TestClient, worker: HandWorker, sampler: str) -> None:
    space = spec()["search_space"] | {"dropout": {"type": "float", "low": 0.0, "high": 0.5}}
    http.post("/v1/studies", json=spec(search_space=space, sampler={"name": sampler}))
    worker.prepare()
    worker.run_trial(0.5)
    params = enqueue(http).json()["params"]
    assert params["learning_rate"] == 2e-4
    assert 0 <= params["dropout"] <= 0.5


def test_a_grid_runs_enqueued_points_and_says_when_it_has_none(http: TestClient, worker: HandWorker) -> None:
    space = {"epochs": {"type": "int", "low": 1, "high": 2}}
    http.post("/v1/studies", json=spec(search_space=space, sampler={"name": "grid"}))
    worker.prepare()
    first = worker.run_trial(0.5)["params"]["epochs"]
    assert enqueue(http, {}).json()["params"]["epochs"] != first
    answer = enqueue(http, {})
    assert (answer.status_code, answer.json()["code"]) == (409, "study-ended")
    assert http.get(STUDY).json()["spec"]["n_trials"] == 4
    assert enqueue(http, {"epochs": first}).status_code == 201


@pytest.mark.parametrize(
    ("params", "field", "reason"),
    [
        ({"learning_rate": 1.0}, "params.learning_rate", "must be a number from"),
        ({"learning_rate": "fast"}, "params.learning_rate", "must be a number"),
        ({"learning_rat": 1e-4}, "params.learning_rat", "did you mean"),
    ],
)
def test_params_outside_the_space_are_refused(
    http: TestClient, running: dict[str, Any], params: dict[str, Any], field: str, reason: str
) -> None:
    answer = enqueue(http, params)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)
    assert reason in answer.json()["detail"]
    assert http.get(STUDY).json()["trials"]["waiting"] == 0


def test_nothing_is_enqueued_before_the_baseline_is(http: TestClient) -> None:
    http.post("/v1/studies", json=spec())
    answer = enqueue(http)
    assert (answer.status_code, answer.json()["code"]) == (409, "study-not-prepared")


def test_enqueueing_reopens_a_finished_study_and_keeps_a_pause(http: TestClient, worker: HandWorker) -> None:
    http.post("/v1/studies", json=spec(n_trials=1))
    worker.prepare()
    worker.run_trial(0.5)
    assert http.get(STUDY).json()["state"] == "complete"
    enqueue(http)
    http.post(f"{STUDY}/pause")
    enqueue(http)
    assert http.get(STUDY).json()["state"] == "paused"
    http.post(f"{STUDY}/resume")
    assert [worker.run_trial(value)["number"] for value in (0.4, 0.3)] == [1, 2]
    assert worker.dispatch() == []
    assert http.get(STUDY).json()["state"] == "complete"


@pytest.mark.parametrize("verb", ["enqueue", "retry"])
def test_a_stopping_study_takes_no_trial(
    http: TestClient, worker: HandWorker, running: dict[str, Any], verb: str
) -> None:
    worker.fail(running)
    worker.take()
    http.post(f"{STUDY}/stop")
    answer = enqueue(http) if verb == "enqueue" else http.post(f"{TRIALS}/0/retry")
    assert (answer.status_code, answer.json()["code"]) == (409, "study-ended")
    assert http.get(STUDY).json()["spec"]["n_trials"] == 3


def test_a_study_holds_no_more_than_100000_trials(http: TestClient, worker: HandWorker) -> None:
    http.post("/v1/studies", json=spec(n_trials=100_000))
    worker.prepare()
    assert enqueue(http).json()["errors"][0]["field"] == "n_trials"


def test_a_running_trial_hears_of_its_cancelling_and_others_go_on(
    http: TestClient, worker: HandWorker, running: dict[str, Any]
) -> None:
    other_worker = HandWorker(http)
    other = other_worker.take()
    for _ in range(2):
        assert http.post(f"{TRIALS}/0/cancel").status_code == 202
    assert worker.heartbeat(running) == "cancel"
    assert worker.report(running, 1, 0.5)["directive"] == "cancel"
    assert other_worker.heartbeat(other) == "continue"
    worker.fail(running, "cancelled")
    ended = http.post(f"{TRIALS}/0/cancel").json()
    assert (ended["state"], ended["failure"]["failure_class"]) == ("FAIL", "cancelled")
    assert http.get(STUDY).json()["state"] == "running"


def test_a_cancelled_trial_may_tell_what_it_has(http: TestClient, worker: HandWorker, running: dict[str, Any]) -> None:
    worker.report(running, 1, 0.5, final=True)
    http.post(f"{TRIALS}/0/cancel")
    assert worker.finish(running).status_code == 200
    assert trial(http, 0)["state"] == "COMPLETE"


@pytest.mark.parametrize("how", ["released", "lost", "device_error"])
def test_a_cancelled_trial_that_comes_back_does_not_run_again(
    http: TestClient, app: Any, worker: HandWorker, running: dict[str, Any], how: str
) -> None:
    http.post(f"{TRIALS}/0/cancel")
    if how == "released":
        worker.release(running)
    elif how == "lost":
        reap_worker(app.state.parts.store, worker.worker_id)
    else:
        worker.fail(running, "device_error")
    assert trial(http, 0)["failure"]["failure_class"] == "cancelled"
    assert worker.take()["number"] == 1


def test_a_waiting_trial_is_cancelled_at_once(http: TestClient, worker: HandWorker, running: dict[str, Any]) -> None:
    enqueue(http)
    assert http.post(f"{TRIALS}/1/cancel").json()["state"] == "FAIL"
    assert HandWorker(http).take()["number"] == 2


def test_cancelling_the_last_waiting_trial_ends_the_study(http: TestClient, worker: HandWorker) -> None:
    http.post("/v1/studies", json=spec(n_trials=1))
    worker.prepare()
    worker.run_trial(0.5)
    enqueue(http)
    http.post(f"{TRIALS}/1/cancel")
    assert http.get(STUDY).json()["state"] == "complete"


def test_a_failed_trial_is_retried_as_a_new_one(http: TestClient, worker: HandWorker, running: dict[str, Any]) -> None:
    worker.fail(running)
    answer = http.post(f"{TRIALS}/0/retry")
    assert (answer.status_code, answer.headers["location"]) == (202, f"{TRIALS}/1")
    assert (answer.json()["params"], answer.json()["retry_of"]) == (trial(http, 0)["params"], 0)
    assert http.get(STUDY).json()["spec"]["n_trials"] == 4
    assert worker.run_trial(0.5)["params"] == running["params"]
    assert trial(http, 1)["state"] == "COMPLETE"


def test_only_a_failed_trial_is_retried(http: TestClient, worker: HandWorker, running: dict[str, Any]) -> None:
    assert http.post(f"{TRIALS}/0/retry").json()["code"] == "trial-not-failed"
    worker.report(running, 1, 0.5, final=True)
    worker.finish(running)
    assert http.post(f"{TRIALS}/0/retry").json()["code"] == "trial-not-failed"


@pytest.mark.parametrize("verb", ["cancel", "retry"])
def test_a_trial_that_is_not_there_is_not_found(http: TestClient, running: dict[str, Any], verb: str) -> None:
    assert http.post(f"{TRIALS}/7/{verb}").json()["code"] == "trial-not-found"
    assert http.post(f"/v1/studies/nobody/trials/0/{verb}").json()["code"] == "study-not-found"
