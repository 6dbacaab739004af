"""Small runs before full ones, over HTTP, on both databases."""

from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from service.lease_terms import LEASE_SECONDS
from service.lifecycle.leases.reap import reap
from tests.conftest import FakeClock
from tests.service.hand_worker import HandWorker, spec

SMALL = {"fraction": 0.25, "trials": 3}


def begin(http: TestClient, worker: HandWorker, **changes: Any) -> None:
    body = spec(n_trials=4, start_small=SMALL) | changes
    assert http.post("/v1/studies", json=body).status_code == 201
    worker.prepare()


def study(http: TestClient) -> dict[str, Any]:
    shown: dict[str, Any] = http.get("/v1/studies/feedback").json()
    return shown


def tell_small(worker: HandWorker, held: dict[str, Any], value: float) -> Any:
    outcome = {"kind": "small", "metrics": {"validation_loss": value}, "device_seconds": 0.5}
    return worker.tell(held, outcome)


def fail_small(worker: HandWorker, held: dict[str, Any], failure_class: str) -> Any:
    failure = {"failure_class": failure_class, "message": "it broke"}
    return worker.tell(held, {"kind": "small", "failure": failure, "device_seconds": 0.5})


def run_small(worker: HandWorker, *values: float) -> list[dict[str, Any]]:
    """Take as many small runs as there are values, and end them."""
    held = []
    for value in values:
        held.append(worker.take())
        assert held[-1]["kind"] == "small"
        assert tell_small(worker, held[-1], value).status_code == 200
    return held


def test_the_first_params_run_small_and_then_in_full(http: TestClient, worker: HandWorker) -> None:
    begin(http, worker, baseline=True, enqueue=[{"learning_rate": 2e-4}], fixed={"epochs": 2})
    small = run_small(worker, 0.3, 0.2, 0.1)
    assert [held["number"] for held in small] == [0, 1, 2]
    assert all(held["fraction"] == 0.25 for held in small)
    full = [worker.run_trial(value) for value in (0.9, 0.8, 0.7, 0.6)]
    assert [held["number"] for held in full] == [0, 1, 2, 3]
    assert [held["params"] for held in full[:3]] == [held["params"] for held in small]
    assert small[1]["params"] == {"learning_rate": 2e-4, "epochs": 2}
    shown = study(http)
    assert shown["state"] == "complete"
    assert shown["trials"] == {"waiting": 0, "running": 0, "complete": 4, "pruned": 0, "fail": 0}
    assert shown["start_small"]["runs"] == [
        {"number": 0, "value": 0.3, "failure": None, "full_value": 0.9},
        {"number": 1, "value": 0.2, "failure": None, "full_value": 0.8},
        {"number": 2, "value": 0.1, "failure": None, "full_value": 0.7},
    ]
    assert shown["start_small"]["rank_correlation"] == pytest.approx(1.0)
    assert http.get("/v1/studies/feedback/best").json()["start_small"] == shown["start_small"]
    assert shown["device_seconds"] == 1.0 + 3 * 0.5 + 4 * 2.0


def test_no_trial_begins_before_the_last_small_run_has_ended(http: TestClient, worker: HandWorker) -> None:
    begin(http, worker)
    other = HandWorker(http)
    held = [worker.take(), *other.dispatch(slots=2)]
    assert sorted(one["number"] for one in held) == [0, 1, 2]
    third = HandWorker(http)
    assert third.dispatch() == []
    for one in held[:2]:
        assert tell_small(worker, one, 0.5).status_code == 200
    assert third.dispatch() == []
    assert tell_small(worker, held[2], 0.5).status_code == 200
    assert third.take()["kind"] == "trial"


def test_small_runs_count_against_n_parallel(http: TestClient, worker: HandWorker) -> None:
    begin(http, worker, n_parallel=1)
    worker.take()
    assert HandWorker(http).dispatch() == []


@pytest.mark.parametrize(
    ("small", "full", "expected"),
    [
        ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6), 1.0),
        ((0.1, 0.2, 0.3), (0.6, 0.5, 0.4), -1.0),
        ((0.1, 0.2, 0.3), (0.5, 0.4, 0.6), 0.5),
        ((0.1, 0.2, 0.2, 0.3), (0.4, 0.6, 0.5, 0.7), 0.9486833),  # a tie, as scipy.stats.spearmanr has it
        ((0.1, 0.1, 0.1), (0.4, 0.5, 0.6), None),
    ],
)
def test_the_rank_correlation_is_spearmans(
    http: TestClient,
    worker: HandWorker,
    small: tuple[float, ...],
    full: tuple[float, ...],
    expected: float | None,
) -> None:
    begin(http, worker, n_trials=len(full), start_small={"fraction": 0.1, "trials": len(small)})
    run_small(worker, *small)
    for value in full:
        worker.run_trial(value)
    assert study(http)["start_small"]["rank_correlation"] == pytest.approx(expected)


def test_a_trial_that_was_pruned_or_failed_is_not_compared(http: TestClient, worker: HandWorker) -> None:
    begin(http, worker)
    run_small(worker, 0.1, 0.2, 0.3)
    worker.run_trial(0.4)
    assert worker.fail(worker.take()).status_code == 200
    shown = study(http)["start_small"]
    assert [run["full_value"] for run in shown["runs"]] == [0.4, None, None]
    assert (shown["n_compared"], shown["rank_correlation"]) == (1, None)


@pytest.mark.parametrize("failure_class", ["data_error", "config_error"])
def test_a_mistake_ends_the_study_before_it_costs(http: TestClient, worker: HandWorker, failure_class: str) -> None:
    begin(http, worker)
    first, second = worker.dispatch(slots=2)
    assert fail_small(worker, first, failure_class).status_code == 200
    assert study(http)["state"] == "stopping"
    assert worker.heartbeat(second) == "cancel"
    assert fail_small(worker, second, "cancelled").status_code == 200
    shown = study(http)
    assert shown["state"] == "failed"
    assert shown["failure"]["failure_class"] == failure_class
    assert shown["failure"]["message"] == f"the small run of trial 0 failed as {failure_class}: it broke"
    assert shown["trials"]["fail"] == 3
    assert worker.dispatch() == []


def test_a_small_run_that_diverges_is_a_warning(http: TestClient, worker: HandWorker) -> None:
    begin(http, worker, start_small={"fraction": 0.1, "trials": 1})
    assert fail_small(worker, worker.take(), "diverged").status_code == 200
    assert "the small run of trial 0 failed as diverged: it broke" in study(http)["warnings"]
    assert worker.run_trial(0.5)["number"] == 0
    (run,) = study(http)["start_small"]["runs"]
    assert run == {"number": 0, "value": None, "failure": "diverged: it broke", "full_value": 0.5}


def test_where_no_small_run_succeeds_the_study_ends(http: TestClient, worker: HandWorker) -> None:
    begin(http, worker)
    for _ in range(3):
        assert study(http)["state"] == "running"
        assert fail_small(worker, worker.take(), "exception").status_code == 200
    shown = study(http)
    assert shown["state"] == "failed"
    assert shown["failure"]["message"] == "no small run succeeded; the last: it broke"


def test_where_one_small_run_succeeds_the_study_goes_on(http: TestClient, worker: HandWorker) -> None:
    begin(http, worker)
    run_small(worker, 0.5)
    for _ in range(2):
        assert fail_small(worker, worker.take(), "exception").status_code == 200
    assert worker.take()["kind"] == "trial"


def test_a_lost_small_run_is_made_again(app: FastAPI, http: TestClient, worker: HandWorker, clock: FakeClock) -> None:
    begin(http, worker)
    lost = worker.take()
    store = app.state.parts.store
    reap(store)
    # in steps: a longer silence of the service itself would be held against nobody
    for _ in range(4):
        clock.advance(LEASE_SECONDS / 4 + 1)
        reap(store)
    other = HandWorker(http)
    again = other.take()
    assert (again["kind"], again["number"], again["attempt"]) == ("small", 0, 2)
    assert again["params"] == lost["params"]
    assert tell_small(worker, lost, 0.9).status_code == 409
    assert tell_small(other, again, 0.1).status_code == 200
    assert [run["value"] for run in study(http)["start_small"]["runs"]] == [0.1]


def test_a_released_small_run_is_made_again(http: TestClient, worker: HandWorker) -> None:
    begin(http, worker)
    assert worker.release(worker.take()).status_code == 204
    assert worker.take()["number"] == 0


def test_a_small_run_that_kills_its_workers_is_given_up(
    app: FastAPI, http: TestClient, worker: HandWorker, clock: FakeClock
) -> None:
    begin(http, worker, start_small={"fraction": 0.1, "trials": 2})
    run_small(worker, 0.5)
    store = app.state.parts.store
    for _ in range(3):
        assert HandWorker(http).take()["number"] == 1
        reap(store)
        for _ in range(4):
            clock.advance(LEASE_SECONDS / 4 + 1)
            reap(store)
    assert HandWorker(http).take()["kind"] == "trial"
    assert "the small run of trial 1 failed as lost" in study(http)["warnings"][-1]


def test_asking_again_gives_the_same_small_run(http: TestClient, worker: HandWorker) -> None:
    begin(http, worker)
    first, again = worker.take(), worker.take()
    assert (again["kind"], again["number"], again["attempt"]) == ("small", 0, 1)
    assert tell_small(worker, first, 0.5).status_code == 409
    assert tell_small(worker, again, 0.5).status_code == 200


def test_telling_twice_is_harmless(http: TestClient, worker: HandWorker) -> None:
    begin(http, worker)
    held = worker.take()
    assert tell_small(worker, held, 0.5).json() == {"replayed": False}
    assert tell_small(worker, held, 0.5).json() == {"replayed": True}
    assert tell_small(worker, held, 0.6).status_code == 409
    assert len(study(http)["start_small"]["runs"]) == 1


def test_a_broken_device_is_tried_once_more(http: TestClient, worker: HandWorker) -> None:
    begin(http, worker)
    assert fail_small(worker, worker.take(), "device_error").status_code == 200
    again = worker.take()
    assert (again["number"], again["attempt"]) == (0, 2)
    assert fail_small(worker, again, "device_error").status_code == 200
    assert worker.take()["number"] == 1


@pytest.mark.parametrize(
    "outcome",
    [
        {"kind": "small"},
        {"kind": "small", "metrics": {"accuracy": 0.5}},
        {"kind": "trial", "state": "COMPLETE"},
    ],
)
def test_an_outcome_that_says_nothing_is_refused(http: TestClient, worker: HandWorker, outcome: dict[str, Any]) -> None:
    begin(http, worker)
    held = worker.take()
    reply = worker.tell(held, outcome | {"device_seconds": 0.5})
    assert (reply.status_code, reply.json()["code"]) == (409, "outcome-refused")
    assert tell_small(worker, held, 0.5).status_code == 200


def test_a_cancelled_study_ends_with_its_small_runs(http: TestClient, worker: HandWorker) -> None:
    begin(http, worker)
    held = worker.take()
    http.post("/v1/studies/feedback/cancel")
    assert worker.heartbeat(held) == "cancel"
    assert fail_small(worker, held, "cancelled").status_code == 200
    shown = study(http)
    assert (shown["state"], shown["start_small"]["runs"]) == ("cancelled", [])


def test_a_small_run_reports_nothing(http: TestClient, worker: HandWorker) -> None:
    begin(http, worker)
    held = worker.take()
    refused = worker.send_report(held, 1, 0.5)
    assert (refused.status_code, refused.json()["code"]) == (409, "outcome-refused")
    assert http.get("/v1/studies/feedback/trials/0").json()["intermediate_values"] == []


def test_a_grid_of_fewer_points_runs_those(http: TestClient, worker: HandWorker) -> None:
    space = {"batch_size": {"type": "categorical", "choices": [8, 16]}}
    begin(http, worker, search_space=space, sampler={"name": "grid"})
    small = run_small(worker, 0.5, 0.4)
    assert sorted(held["params"]["batch_size"] for held in small) == [8, 16]
    assert [worker.run_trial(0.5)["params"] for _ in range(2)] == [held["params"] for held in small]


def test_params_are_those_of_the_same_study_without_small_runs(http: TestClient, worker: HandWorker) -> None:
    begin(http, worker, sampler={"name": "tpe"})
    small = run_small(worker, 0.1, 0.2, 0.3)
    http.post("/v1/studies/feedback/cancel")
    begin(http, worker, name="plain", start_small=None, sampler={"name": "tpe"})
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
