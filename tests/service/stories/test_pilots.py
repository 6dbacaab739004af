"""Pilots come before full trials and are of the same params."""

from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.service.hand_worker import HandWorker, spec
from tests.service.pilots import begin_with_pilots, run_pilots, study, tell_pilot


def test_the_first_params_run_small_and_then_in_full(http: TestClient, worker: HandWorker) -> None:
    begin_with_pilots(http, worker, baseline=True, enqueue=[{"learning_rate": 2e-4}], fixed={"epochs": 2})
    small = run_pilots(worker, 0.3, 0.2, 0.1)
    assert [held["number"] for held in small] == [0, 1, 2]
    assert all(held["fraction"] == 0.25 for held in small)
    full = [worker.run_trial(value) for value in (0.8, 0.9, 0.7, 0.6)]
    assert [held["number"] for held in full] == [1, 0, 2, 3]
    assert [full[place]["params"] for place in (1, 0, 2)] == [held["params"] for held in small]
    assert small[1]["params"] == {"learning_rate": 2e-4, "epochs": 2}
    shown = study(http)
    assert shown["state"] == "complete"
    assert shown["trials"] == {"waiting": 0, "paused": 0, "running": 0, "complete": 4, "pruned": 0, "fail": 0}
    assert shown["start_small"]["runs"] == [
        {"number": 0, "value": 0.3, "failure": None, "full_value": 0.9},
        {"number": 1, "value": 0.2, "failure": None, "full_value": 0.8},
        {"number": 2, "value": 0.1, "failure": None, "full_value": 0.7},
    ]
    assert shown["start_small"]["rank_correlation"] == pytest.approx(1.0)
    assert http.get("/v1/studies/feedback/best").json()["start_small"] == shown["start_small"]
    assert shown["device_seconds"] == 1.0 + 3 * 0.5 + 4 * 2.0


def test_no_trial_begins_before_the_last_small_run_has_ended(http: TestClient, worker: HandWorker) -> None:
    begin_with_pilots(http, worker)
    other = HandWorker(http)
    held = [worker.take(), *other.dispatch(slots=2)]
    assert sorted(one["number"] for one in held) == [0, 1, 2]
    third = HandWorker(http)
    assert third.dispatch() == []
    for one in held[:2]:
        assert tell_pilot(worker, one, 0.5).status_code == 200
    assert third.dispatch() == []
    assert tell_pilot(worker, held[2], 0.5).status_code == 200
    assert third.take()["kind"] == "trial"


def test_small_runs_count_against_n_parallel(http: TestClient, worker: HandWorker) -> None:
    begin_with_pilots(http, worker, n_parallel=1)
    worker.take()
    assert HandWorker(http).dispatch() == []


def test_a_grid_of_fewer_points_runs_those(http: TestClient, worker: HandWorker) -> None:
    space = {"batch_size": {"type": "categorical", "choices": [8, 16]}}
    begin_with_pilots(http, worker, search_space=space, sampler={"name": "grid"})
    small = run_pilots(worker, 0.5, 0.4)
    assert sorted(held["params"]["batch_size"] for held in small) == [8, 16]
    assert [worker.run_trial(0.5)["params"] for _ in range(2)] == [held["params"] for held in small]


def test_params_are_those_of_the_same_study_without_small_runs(http: TestClient, worker: HandWorker) -> None:
    begin_with_pilots(http, worker, sampler={"name": "tpe"})
    small = run_pilots(worker, 0.1, 0.2, 0.3)
    http.post("/v1/studies/feedback/cancel")
    begin_with_pilots(http, worker, name="plain", start_small=None, sampler={"name": "tpe"})
    assert [worker.run_trial(0.5)["params"] for _ in range(3)] == [held["params"] for held in small]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"start_small": {"trials": 5}}, "start_small.trials"),
        ({"start_small": {"fraction": 1.0}}, "start_small.fraction"),
        ({"start_small": {"fraction": 0}}, "start_small.fraction"),
        ({"start_small": {"part": 0.1}}, "start_small.part"),
    ],
)
def test_a_start_that_is_not_small_is_refused(http: TestClient, changes: dict[str, Any], field: str) -> None:
    reply = http.post("/v1/studies", json=spec(n_trials=4) | changes)
    assert reply.status_code == 422
    assert [error["field"] for error in reply.json()["errors"]] == [field]
