"""What pruning, early stopping and the trunk cache have saved, as trials' workers have measured it."""

from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.service.hand_worker import HandWorker, spec
from tests.service.rung_worker import RungWorker, rungs_spec

NOTHING = {"pruning": None, "early_stopping": None, "trunk_cache": None}
MEASURED = {"seconds_per_epoch": 3.0, "trunk_seconds": 1.5}


def begin(http: TestClient, worker: HandWorker, **changes: Any) -> None:
    assert http.post("/v1/studies", json=spec(n_trials=6, fixed={"epochs": 10}, **changes)).status_code == 201
    worker.prepare()


def run(worker: HandWorker, n_steps: int, state: str, speed: dict[str, Any] | None, **outcome: Any) -> None:
    """Take a trial and end it after ``n_steps`` evaluations, by two tells that say the same."""
    held = worker.take()
    for step in range(1, n_steps + 1):
        worker.report(held, step, 0.5, final=step == n_steps and state == "COMPLETE")
    outcome = {"kind": "trial", "state": state, "device_seconds": 2.0, "speed": speed} | outcome
    assert worker.tell(held, outcome).json() == {"replayed": False}
    assert worker.tell(held, outcome).json() == {"replayed": True}


def saved(http: TestClient) -> dict[str, Any]:
    """What the study says, which is what the list of studies says, and its best trial where there is one."""
    shown: dict[str, Any] = http.get("/v1/studies/feedback").json()["saved_seconds"]
    (listed,) = http.get("/v1/studies").json()["studies"]
    assert listed["saved_seconds"] == shown
    best = http.get("/v1/studies/feedback/best")
    assert best.status_code != 200 or best.json()["saved_seconds"] == shown
    return shown


def test_epochs_that_were_not_trained_count_with_the_trials_own_speed(http: TestClient, worker: HandWorker) -> None:
    begin(http, worker, training={"evaluations_per_epoch": 2})
    assert saved(http) == NOTHING
    run(worker, 20, "COMPLETE", {"seconds_per_epoch": 3.0})
    assert saved(http) == NOTHING  # it has trained all epochs, and there was no cache
    run(worker, 4, "PRUNED", MEASURED)
    assert saved(http) == NOTHING | {"pruning": 8 * 3.0, "trunk_cache": 1.5}
    run(worker, 12, "COMPLETE", {"seconds_per_epoch": 2.0})
    assert saved(http) == {"pruning": 24.0, "early_stopping": 4 * 2.0, "trunk_cache": 1.5}
    run(worker, 19, "PRUNED", {"seconds_per_epoch": 2.0, "trunk_seconds": -0.5})
    assert saved(http) == {"pruning": 25.0, "early_stopping": 8.0, "trunk_cache": 1.0}


def test_nothing_is_said_to_be_saved_that_was_not_measured(http: TestClient, worker: HandWorker) -> None:
    begin(http, worker)
    run(worker, 2, "PRUNED", None)
    run(worker, 2, "PRUNED", {"seconds_per_epoch": None, "trunk_seconds": None})
    run(worker, 2, "FAIL", MEASURED, failure={"failure_class": "exception", "message": "it broke"})
    run(worker, 2, "PRUNED", MEASURED, failure={"failure_class": "budget", "message": "time is up"})
    assert saved(http) == NOTHING


def test_an_attempt_that_is_given_back_saves_nothing_and_the_next_counts_once(
    http: TestClient, worker: HandWorker
) -> None:
    begin(http, worker)
    held = worker.take()
    worker.report(held, 1, 0.5)
    assert worker.release(held).status_code == 204
    run(worker, 4, "PRUNED", MEASURED)
    assert saved(http) == NOTHING | {"pruning": 18.0, "trunk_cache": 1.5}


def test_what_a_script_would_still_have_done_is_not_known(http: TestClient, worker: HandWorker) -> None:
    script = {"task": "script", "script": "train.py", "objective": {"metric": "loss", "direction": "minimize"}}
    space = {"x": {"type": "float", "low": 0.0, "high": 1.0}}
    body = spec(**script, model=None, data=None, preset=None, search_space=space)
    assert http.post("/v1/studies", json=body).status_code == 201
    worker.prepare()
    held = worker.take()
    worker.report(held, 1, 0.5, loss=0.5)
    worker.tell(held, {"kind": "trial", "state": "PRUNED", "device_seconds": 2.0, "speed": {"seconds_per_epoch": 3.0}})
    assert saved(http) == NOTHING


def falling(number: int, step: int) -> float:
    """A loss by which a lower number is better at every step."""
    return number + 1 / step


def rungs(http: TestClient, **changes: Any) -> RungWorker:
    """A worker of a study of four trials of 4 epochs, whose rungs are at the first and at the second."""
    worker = RungWorker(http)
    assert http.post("/v1/studies", json=rungs_spec(**changes)).status_code == 201
    worker.prepare()
    worker.speed = MEASURED
    return worker


def test_what_paused_trials_have_not_trained_is_saved_once_they_are_dropped(http: TestClient) -> None:
    worker = rungs(http)
    for _ in range(3):
        held = worker.ask()
        assert held is not None
        worker.train(held, falling)
    assert saved(http) == NOTHING  # the trials that are paused may go on
    worker.work(falling)
    # one was dropped after two epochs, two after one, by what was measured until their last pause
    assert saved(http) == NOTHING | {"pruning": (2 + 3 + 3) * 3.0, "trunk_cache": 3 * 1.5}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_study_that_is_stopped_saves_nothing_of_its_paused_trials(http: TestClient) -> None:
    worker = rungs(http)
    held = worker.ask()
    assert held is not None
    worker.train(held, falling)
    assert http.post("/v1/studies/feedback/stop").status_code == 202
    assert http.get("/v1/studies/feedback/trials/0").json()["state"] == "PRUNED"
    assert saved(http) == NOTHING


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_paused_trial_whose_worker_has_not_said_its_speed_saves_nothing(http: TestClient) -> None:
    worker = rungs(http, n_trials=2)
    held = worker.take()
    assert worker.report(held, 1, 0.5)["directive"] == "pause"
    assert worker.release(held, "preempted").status_code == 204
    worker.work(lambda number, _: -number)
    shown = http.get("/v1/studies/feedback/trials/0").json()
    assert (shown["state"], [one["end"] for one in shown["attempts"]]) == ("PRUNED", ["paused"])
    assert saved(http) == NOTHING
