"""New limits for a study, up and down, running and ended."""

from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.conftest import FakeClock
from tests.service.hand_worker import HandWorker, spec

STUDY = "/v1/studies/feedback"


def patch(http: TestClient, **change: Any) -> Any:
    return http.patch(STUDY, json=change)


def scored(worker: HandWorker) -> None:
    """One trial, and the score of its model on the test split."""
    worker.prepare()
    held = worker.take()
    worker.report(held, 1, 0.5, final=True)
    worker.upload(held, "weights.bin", b"model")
    worker.finish(held)
    worker.tell(worker.take(), {"kind": "score", "metrics": {"test_accuracy": 0.75}, "device_seconds": 1.0})


def run_study(http: TestClient, worker: HandWorker, n_trials: int, **changes: Any) -> None:
    assert http.post("/v1/studies", json=spec(n_trials=n_trials, **changes)).status_code == 201
    worker.prepare()
    for index in range(n_trials):
        worker.run_trial(0.9 - 0.1 * index)


def test_a_finished_study_goes_on_with_more_trials(http: TestClient, worker: HandWorker) -> None:
    run_study(http, worker, 2)
    assert http.get(STUDY).json()["state"] == "complete"
    study = patch(http, n_trials=3).json()
    assert (study["state"], study["finished_at"], study["spec"]["n_trials"]) == ("running", None, 3)
    assert worker.run_trial(0.5)["number"] == 2
    assert worker.dispatch() == []
    assert http.get(STUDY).json()["state"] == "complete"


def test_a_cancelled_study_goes_on_and_is_prepared_if_it_was_not(http: TestClient, worker: HandWorker) -> None:
    http.post("/v1/studies", json=spec())
    assert http.post(f"{STUDY}/cancel").json()["state"] == "cancelled"
    assert patch(http, n_trials=4).json()["state"] == "running"
    worker.prepare()
    assert worker.take()["number"] == 0


def test_lowering_to_what_exists_ends_the_study(http: TestClient, worker: HandWorker) -> None:
    http.post("/v1/studies", json=spec(n_trials=5))
    worker.prepare()
    worker.run_trial(0.5)
    held = worker.take()
    refused = patch(http, n_trials=1)
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "n_trials")
    assert "2 trials already" in refused.json()["detail"]
    assert http.get(STUDY).json()["spec"]["n_trials"] == 5
    assert patch(http, n_trials=2).json()["state"] == "running"
    worker.report(held, 1, 0.4, final=True)
    worker.finish(held)
    assert http.get(STUDY).json()["state"] == "complete"


def test_fewer_trials_than_the_spec_enqueues_are_refused(http: TestClient) -> None:
    http.post("/v1/studies", json=spec(n_trials=5, enqueue=[{}, {}]))
    refused = patch(http, n_trials=1)
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "enqueue")


def test_what_is_left_out_stays_and_null_lifts(http: TestClient) -> None:
    http.post("/v1/studies", json=spec(n_parallel=2, timeout_seconds=50.0, device_seconds=9.0))
    changed = patch(http, n_parallel=None, timeout_seconds=70.0).json()["spec"]
    assert (changed["n_parallel"], changed["timeout_seconds"], changed["device_seconds"]) == (None, 70.0, 9.0)
    assert patch(http).json()["spec"] == changed
    assert patch(http, n_trials=None).json()["spec"] == changed


def test_fewer_at_once_holds_from_the_next_dispatch(http: TestClient, worker: HandWorker) -> None:
    http.post("/v1/studies", json=spec(n_trials=5))
    worker.prepare()
    first, _second = worker.take(), HandWorker(http).take()
    patch(http, n_parallel=1)
    assert HandWorker(http).dispatch() == []
    worker.report(first, 1, 0.5, final=True)
    worker.finish(first)
    assert HandWorker(http).dispatch() == []
    patch(http, n_parallel=2)
    assert HandWorker(http).take()["number"] == 2


@pytest.mark.parametrize("field", ["timeout_seconds", "n_trials"])
def test_a_study_whose_time_is_over_needs_more_of_it(
    http: TestClient, worker: HandWorker, clock: FakeClock, field: str
) -> None:
    run_study(http, worker, 1, timeout_seconds=100.0)
    clock.advance(100)
    change = {"n_trials": 2} if field == "n_trials" else {"n_trials": 2, "timeout_seconds": 100.001}
    answer = patch(http, **change)
    if field == "n_trials":
        assert (answer.status_code, answer.json()["code"]) == (409, "study-ended")
        assert "timeout_seconds" in answer.json()["detail"]
        assert http.get(STUDY).json()["spec"]["n_trials"] == 1
    else:
        assert answer.json()["state"] == "running"
        assert worker.take()["seconds_left"] == pytest.approx(0.001)


def test_a_study_that_reached_its_target_does_not_go_on(http: TestClient, worker: HandWorker) -> None:
    run_study(http, worker, 1, target_value=0.9)
    answer = patch(http, n_trials=2)
    assert (answer.status_code, answer.json()["code"]) == (409, "study-ended")
    assert "target_value" in answer.json()["detail"]


def test_a_failed_study_does_not_go_on(http: TestClient, worker: HandWorker) -> None:
    http.post("/v1/studies", json=spec(n_trials=1))
    worker.prepare()
    worker.fail(worker.take())
    assert patch(http, n_trials=2).json()["code"] == "study-ended"


def test_a_shorter_timeout_ends_the_study_now(http: TestClient, worker: HandWorker, clock: FakeClock) -> None:
    http.post("/v1/studies", json=spec())
    worker.prepare()
    clock.advance(10)
    assert patch(http, timeout_seconds=10.0).json()["state"] == "complete"


def test_both_the_posted_and_the_changed_spec_join_the_study(http: TestClient) -> None:
    posted = spec()
    http.post("/v1/studies", json=posted)
    changed = patch(http, n_trials=7, n_parallel=1).json()["spec"]
    patch(http, n_trials=8)
    assert http.post("/v1/studies", json=posted).status_code == 200
    assert http.post("/v1/studies", json=changed | {"n_trials": 8}).status_code == 200
    answer = http.post("/v1/studies", json=changed)
    assert (answer.status_code, answer.json()["code"]) == (409, "study-exists")


def test_extending_after_the_test_split_was_seen_is_said(http: TestClient, worker: HandWorker) -> None:
    http.post("/v1/studies", json=spec(n_trials=1, data={"train": "train.csv", "test": "test.csv"}))
    scored(worker)
    assert patch(http, n_trials=2).json()["state"] == "running"
    assert http.get(f"{STUDY}/best").json()["metrics"]["test_accuracy"] == 0.75
    worker.run_trial(0.9)
    assert any("test split" in warning for warning in http.get(STUDY).json()["warnings"])
    assert "test_accuracy" not in http.get(f"{STUDY}/best").json()["metrics"]
    assert worker.take()["kind"] == "score"


@pytest.mark.parametrize("change", [{"timeout_seconds": 200.0}, {"device_seconds": 2e6}, {"timeout_seconds": None}])
def test_a_limit_that_lets_no_trial_run_changes_nothing_else(
    http: TestClient, worker: HandWorker, change: dict[str, Any]
) -> None:
    limits = {"timeout_seconds": 100.0, "device_seconds": 1e6}
    http.post("/v1/studies", json=spec(n_trials=1, data={"train": "train.csv", "test": "test.csv"}, **limits))
    scored(worker)
    before, best = http.get(STUDY).json(), http.get(f"{STUDY}/best").json()
    assert patch(http, **change).json() == before | {"spec": before["spec"] | change}
    assert worker.dispatch() == []
    assert http.get(f"{STUDY}/best").json() == best
    assert best["metrics"]["test_accuracy"] == 0.75


def test_a_score_outlives_a_trial_that_was_added_and_cancelled_before_it_began(
    http: TestClient, worker: HandWorker
) -> None:
    http.post("/v1/studies", json=spec(n_trials=1, data={"train": "train.csv", "test": "test.csv"}))
    scored(worker)
    assert http.post(f"{STUDY}/trials", json={"params": {}}).status_code == 201
    assert http.post(f"{STUDY}/trials/1/cancel").status_code == 202
    assert http.get(STUDY).json()["state"] == "complete"
    assert http.get(f"{STUDY}/best").json()["metrics"]["test_accuracy"] == 0.75


def test_a_grid_that_has_no_point_left_keeps_its_score(http: TestClient, worker: HandWorker) -> None:
    one_point = {"learning_rate": {"type": "categorical", "choices": [1e-4]}}
    grid = {"search_space": one_point, "sampler": {"name": "grid"}, "n_trials": 5, "timeout_seconds": 100.0}
    http.post("/v1/studies", json=spec(data={"train": "train.csv", "test": "test.csv"}, **grid))
    scored(worker)
    assert patch(http, timeout_seconds=200.0).json()["state"] == "running"
    assert worker.dispatch() == []
    assert http.get(STUDY).json()["state"] == "complete"
    assert http.get(f"{STUDY}/best").json()["metrics"]["test_accuracy"] == 0.75


@pytest.mark.parametrize("end", ["cancel", "stop"])
@pytest.mark.parametrize("verb", ["retry", "enqueue"])
def test_a_trial_added_to_an_ended_study_runs_and_no_other(
    http: TestClient, worker: HandWorker, end: str, verb: str
) -> None:
    http.post("/v1/studies", json=spec(n_trials=20))
    worker.prepare()
    worker.run_trial(0.5)
    worker.fail(worker.take())
    http.post(f"{STUDY}/{end}")
    path, body = ("trials/1/retry", None) if verb == "retry" else ("trials", {"params": {}})
    assert http.post(f"{STUDY}/{path}", json=body).json()["number"] == 2
    assert http.get(STUDY).json()["spec"]["n_trials"] == 3
    assert worker.run_trial(0.5)["number"] == 2
    assert worker.dispatch() == []
    assert http.get(STUDY).json()["state"] == "complete"
    assert patch(http, n_trials=20).json()["state"] == "running"
    assert worker.take()["number"] == 3


def test_an_unknown_limit_or_one_beyond_all_dates_is_refused(http: TestClient) -> None:
    http.post("/v1/studies", json=spec())
    assert patch(http, timeout_seconds=1e300).status_code == 422
    assert patch(http, n_trails=3).status_code == 422
    assert http.patch("/v1/studies/nobody", json={}).status_code == 404
