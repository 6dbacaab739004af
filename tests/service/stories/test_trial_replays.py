"""A person has a trial run again, and hears whether its numbers come out the same; nothing of its study changes."""

from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from service.lease_and_heartbeat_terms import LEASE_SECONDS, MAX_COUNTED_ATTEMPTS
from service.lifecycle.leases.reap import reap
from service.store.store import Store
from tests.conftest import FakeClock
from tests.service.hand_worker import HandWorker, spec

STUDY = "/v1/studies/feedback"
REPLAY = f"{STUDY}/trials/0/replay"
VALUES = (0.7, 0.5)


def evaluations(*values: float) -> list[dict[str, Any]]:
    """What a replay tells of evaluations with these values, which a hand worker would have reported."""
    return [
        {"step": step, "value": value, "metrics": {"validation_loss": value, "train_loss": value - 0.1}}
        for step, value in enumerate(values, start=1)
    ]


def tell_replay(worker: HandWorker, held: dict[str, Any], *values: float, **failure: str) -> Any:
    """End a replay with these values, and perhaps with a failure behind them."""
    outcome = {"kind": "replay", "evaluations": evaluations(*values), "device_seconds": 3.0}
    return worker.tell(held, outcome | ({"failure": failure} if failure else {}))


def take_replay(worker: HandWorker) -> dict[str, Any]:
    held = worker.take()
    assert held["kind"] == "replay", held
    return held


def result(http: TestClient) -> dict[str, Any]:
    shown = http.get(REPLAY).json()
    assert shown["state"] == "ended", shown
    comparison: dict[str, Any] = shown["result"]
    return comparison


@pytest.fixture
def ended(http: TestClient, worker: HandWorker, beating_store: Store) -> dict[str, Any]:
    """An ended study of one COMPLETE trial, as it is shown."""
    assert http.post("/v1/studies", json=spec(n_trials=1)).status_code == 201
    worker.prepare()
    worker.run_trial(*VALUES)
    study: dict[str, Any] = http.get(STUDY).json()
    assert study["state"] == "complete"
    return study


def test_a_replay_with_the_same_numbers_is_equal_and_changes_nothing_but_its_own_line(
    http: TestClient, worker: HandWorker, ended: dict[str, Any]
) -> None:
    before = {path: http.get(f"{STUDY}{path}").json() for path in ("/trials/0", "/best", "/trials")}
    asked = http.post(REPLAY)
    assert (asked.status_code, asked.headers["Location"]) == (202, REPLAY)
    assert asked.json()["state"] == "waiting"
    held = take_replay(worker)
    assert (held["number"], held["evaluate_at"], held["last_step"]) == (0, [1, 2], 2)
    assert held["params"] == http.get(f"{STUDY}/trials/0").json()["params"]
    assert http.get(REPLAY).json()["state"] == "running"
    assert tell_replay(worker, held, *VALUES).json() == {"replayed": False}
    found = result(http)
    assert (found["verdict"], found["reasons"], found["n_compared"]) == ("equal", [], 2)
    assert found["sentence"] == "trial 0 of feedback came out the same to the last bit (2 evaluations)"
    assert http.get(STUDY).json() == ended | {"replay_seconds": 3.0}
    assert {path: http.get(f"{STUDY}{path}").json() for path in before} == before
    assert worker.dispatch() == []


@pytest.mark.slow
def test_the_manifest_names_what_decides_the_numbers(
    http: TestClient, worker: HandWorker, ended: dict[str, Any]
) -> None:
    shown = http.post(REPLAY).json()
    manifest = shown["manifest"]
    assert (manifest["seed"], manifest["precision"]) == (0, "fp32")
    assert (manifest["model_sha256"], manifest["data_sha256"]) == ("0" * 64, "1" * 64)
    assert shown["recorded_on"] == {"device": "a hand", "device_kind": "cpu", "versions": {"torch": "1"}}
    assert http.get(f"{STUDY}/trials/0").json()["attempts"][0]["versions"] == {"torch": "1"}


@pytest.mark.slow
def test_other_numbers_are_told_with_the_first_step_and_likely_reasons(
    http: TestClient, worker: HandWorker, ended: dict[str, Any]
) -> None:
    http.post(REPLAY)
    other = HandWorker(http, versions={"torch": "2"})
    assert tell_replay(other, take_replay(other), 0.7, 0.6).status_code == 200
    found = result(http)
    assert found["verdict"] == "different"
    assert (found["first_difference"]["step"], found["first_difference"]["metric"]) == (2, "validation_loss")
    assert "torch was 1, and is 2 now" in found["reasons"]


@pytest.mark.slow
def test_repeating_the_request_means_the_same_replay_until_it_has_ended(
    http: TestClient, worker: HandWorker, clock: FakeClock, ended: dict[str, Any]
) -> None:
    first = http.post(REPLAY).json()
    clock.advance(1)
    assert http.post(REPLAY).json() == first
    held = take_replay(worker)
    assert http.post(REPLAY).json()["requested_at"] == first["requested_at"]
    assert HandWorker(http).dispatch() == []
    tell_replay(worker, held, *VALUES)
    assert http.post(REPLAY).json()["state"] == "waiting"
    assert http.get(REPLAY).json()["device_seconds"] == 0
    assert take_replay(worker)["attempt"] == 2


@pytest.mark.slow
def test_asking_again_gives_the_same_replay_and_telling_twice_is_harmless(
    http: TestClient, worker: HandWorker, ended: dict[str, Any]
) -> None:
    http.post(REPLAY)
    first, again = take_replay(worker), take_replay(worker)
    assert (again["lease_id"], again["attempt"]) == (first["lease_id"], 1)
    assert tell_replay(worker, first, *VALUES).json()["code"] == "lease-lost"
    assert tell_replay(worker, again, *VALUES).json() == {"replayed": False}
    assert tell_replay(worker, again, *VALUES).json() == {"replayed": True}
    assert tell_replay(worker, again, 0.1).json()["code"] == "outcome-refused"
    assert result(http)["verdict"] == "equal"


def test_a_replay_in_a_running_study_takes_no_place_of_a_trial(
    http: TestClient, worker: HandWorker, beating_store: Store
) -> None:
    assert http.post("/v1/studies", json=spec(n_trials=2, n_parallel=1)).status_code == 201
    worker.prepare()
    worker.run_trial(*VALUES)
    http.post(REPLAY)
    held, other = take_replay(worker), HandWorker(http)
    other.run_trial(0.4)
    assert http.get(STUDY).json()["state"] == "complete"
    assert worker.heartbeat(held) == "continue"
    tell_replay(worker, held, *VALUES)
    assert result(http)["verdict"] == "equal"
    study = http.get(STUDY).json()
    assert (study["trials"]["complete"], study["device_seconds"], study["replay_seconds"]) == (2, 5.0, 3.0)


@pytest.mark.slow
def test_a_study_that_is_scored_does_not_wait_for_a_replay(
    http: TestClient, worker: HandWorker, beating_store: Store
) -> None:
    body = spec(n_trials=1, data={"train": "train.csv", "test": "test.csv"}, training={"keep_models": 0})
    assert http.post("/v1/studies", json=body).status_code == 201
    worker.prepare()
    worker.run_trial(*VALUES)
    http.post(REPLAY)
    take_replay(worker)
    HandWorker(http).dispatch()
    assert http.get(STUDY).json()["state"] == "complete"


def lose(store: Store, clock: FakeClock) -> None:
    """Let the leases of silent workers expire, in steps: a silence of the service itself is held against nobody."""
    for _ in range(4):
        clock.advance(LEASE_SECONDS / 4 + 1)
        reap(store)


def test_a_lost_replay_is_made_again_and_ends_with_a_reason_after_its_last_attempt(
    http: TestClient, worker: HandWorker, beating_store: Store, clock: FakeClock, ended: dict[str, Any]
) -> None:
    http.post(REPLAY)
    for attempt in range(1, MAX_COUNTED_ATTEMPTS + 1):
        lost = HandWorker(http)
        assert take_replay(lost)["attempt"] == attempt
        lose(beating_store, clock)
    found = result(http)
    assert (found["verdict"], found["failure"]["failure_class"]) == ("not_comparable", "lost")
    assert found["replayed_on"] is None
    assert http.get(STUDY).json()["state"] == "complete"
    http.post(REPLAY)
    take_replay(HandWorker(http))
    lose(beating_store, clock)
    assert tell_replay(worker, take_replay(worker), *VALUES).status_code == 200
    assert result(http)["verdict"] == "equal"


@pytest.mark.slow
def test_a_stale_worker_changes_nothing_and_a_released_replay_is_made_again(
    http: TestClient, worker: HandWorker, beating_store: Store, clock: FakeClock, ended: dict[str, Any]
) -> None:
    http.post(REPLAY)
    stale = take_replay(worker)
    lose(beating_store, clock)
    other = HandWorker(http)
    held = take_replay(other)
    assert tell_replay(worker, stale, 0.1).json()["code"] == "lease-lost"
    assert other.release(held).status_code == 204
    assert tell_replay(other, take_replay(other), *VALUES).status_code == 200
    assert result(http)["verdict"] == "equal"


@pytest.mark.slow
def test_a_broken_device_is_tried_once_more(http: TestClient, worker: HandWorker, ended: dict[str, Any]) -> None:
    http.post(REPLAY)
    tell_replay(worker, take_replay(worker), failure_class="device_error", message="it broke")
    again = take_replay(worker)
    tell_replay(worker, again, failure_class="device_error", message="it broke")
    assert result(http)["reasons"] == ["device_error: it broke"]


@pytest.mark.slow
def test_data_that_have_changed_cannot_be_compared(http: TestClient, worker: HandWorker, ended: dict[str, Any]) -> None:
    http.post(REPLAY)
    tell_replay(worker, take_replay(worker), failure_class="data_error", message="train.csv changed")
    found = result(http)
    assert (found["verdict"], found["n_compared"]) == ("not_comparable", 0)
    assert found["sentence"] == "trial 0 of feedback could not be compared: data_error: train.csv changed"


@pytest.mark.slow
def test_a_failed_trial_says_whether_it_fails_again(http: TestClient, worker: HandWorker, beating_store: Store) -> None:
    assert http.post("/v1/studies", json=spec(n_trials=1)).status_code == 201
    worker.prepare()
    held = worker.take()
    worker.report(held, 1, 0.7)
    worker.fail(held, "exception")
    http.post(REPLAY)
    again = take_replay(worker)
    assert (again["evaluate_at"], again["last_step"]) == (None, None)
    tell_replay(worker, again, 0.7, failure_class="exception", message="it broke")
    assert result(http)["sentence"].endswith("(1 evaluation), and it failed again as exception")
    http.post(REPLAY)
    tell_replay(worker, take_replay(worker), 0.7, 0.6)
    assert result(http)["sentence"] == "trial 0 of feedback failed as exception, and its replay did not"


@pytest.mark.slow
def test_a_pruned_trial_is_replayed_to_its_last_step(
    http: TestClient, worker: HandWorker, beating_store: Store
) -> None:
    threshold = {"name": "threshold", "options": {"upper": 0.6}}
    assert http.post("/v1/studies", json=spec(n_trials=1, pruner=threshold)).status_code == 201
    worker.prepare()
    worker.run_trial(0.5, 0.7, 0.8)
    assert http.get(f"{STUDY}/trials/0").json()["state"] == "PRUNED"
    http.post(REPLAY)
    held = take_replay(worker)
    assert (held["evaluate_at"], held["last_step"]) == ([1, 2], 2)


@pytest.mark.slow
def test_what_has_not_ended_or_left_nothing_is_refused(
    http: TestClient, worker: HandWorker, beating_store: Store
) -> None:
    assert http.post("/v1/studies", json=spec(n_trials=1)).status_code == 201
    worker.prepare()
    held = worker.take()
    refused = http.post(REPLAY)
    assert (refused.status_code, refused.json()["code"]) == (409, "trial-not-replayable")
    assert "is RUNNING" in refused.json()["detail"]
    worker.fail(held, "budget")
    assert "before its first evaluation" in http.post(REPLAY).json()["detail"]
    assert http.get(REPLAY).json()["code"] == "replay-not-found"
    assert http.post(f"{STUDY}/trials/1/replay").json()["code"] == "trial-not-found"


@pytest.mark.slow
def test_cancelling_the_trial_ends_its_replay(http: TestClient, worker: HandWorker, ended: dict[str, Any]) -> None:
    http.post(REPLAY)
    assert http.post(f"{STUDY}/trials/0/cancel").json()["state"] == "COMPLETE"
    assert result(http)["failure"]["failure_class"] == "cancelled"
    assert worker.dispatch() == []
    http.post(REPLAY)
    held = take_replay(worker)
    http.post(f"{STUDY}/trials/0/cancel")
    assert worker.heartbeat(held) == "cancel"
    assert worker.release(held).status_code == 204
    assert result(http)["verdict"] == "not_comparable"
    assert worker.dispatch() == []


@pytest.mark.slow
def test_the_end_of_a_replay_is_an_event(http: TestClient, worker: HandWorker, ended: dict[str, Any]) -> None:
    http.post(REPLAY)
    tell_replay(worker, take_replay(worker), *VALUES)
    told = http.get(f"{STUDY}/events").text
    assert told.count("event: replay") == 1
    assert '"verdict":"equal"' in told.replace(" ", "")


@pytest.mark.slow
def test_a_replay_reports_nothing_and_leaves_the_log_of_its_trial(
    http: TestClient, worker: HandWorker, ended: dict[str, Any]
) -> None:
    http.post(REPLAY)
    held = take_replay(worker)
    assert worker.send_report(held, 1, 0.5).json()["code"] == "outcome-refused"
    log = f"/v1/leases/{held['lease_id']}/log"
    http.put(log, content=b"a line\n", headers={"Lease-Token": held["token"]})
    assert http.get(f"{STUDY}/trials/0/log").text == ""


@pytest.mark.slow
def test_a_worker_that_cannot_keep_the_precision_leaves_a_replay_to_others(
    http: TestClient, beating_store: Store
) -> None:
    able = HandWorker(http, bf16=True)
    assert http.post("/v1/studies", json=spec(n_trials=1)).status_code == 201
    able.prepare(precision="bf16")
    able.run_trial(*VALUES)
    http.post(REPLAY)
    assert HandWorker(http).dispatch() == []
    held = take_replay(able)
    tell_replay(able, held, 0.7, 0.501)
    assert (result(http)["verdict"], result(http)["tolerance"]) == ("within_tolerance", 0.02)


@pytest.mark.slow
def test_deleting_the_study_ends_its_replay(
    app: FastAPI, http: TestClient, worker: HandWorker, ended: dict[str, Any]
) -> None:
    http.post(REPLAY)
    held = take_replay(worker)
    assert http.delete(STUDY).status_code == 204
    assert worker.heartbeat(held) == "lost"
    assert tell_replay(worker, held, *VALUES).json()["code"] == "lease-lost"
    assert worker.dispatch() == []
