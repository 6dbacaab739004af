"""Who may write to a trial, and until when."""

from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from service.lease_terms import LEASE_SECONDS, REAP_SECONDS
from service.lifecycle.leases.reap import reap, reap_launched, reap_worker
from service.lifecycle.model_folders import remove_unused_folders
from service.store import workers
from service.store.store import Store
from tests.conftest import FakeClock
from tests.service.hand_worker import FACTS, HandWorker, spec


@pytest.fixture
def store(app: FastAPI) -> Store:
    store: Store = app.state.parts.store
    reap(store)  # the first beat of a service; from now on silence would be an outage
    return store


@pytest.fixture
def held(http: TestClient, worker: HandWorker, store: Store) -> dict[str, Any]:
    """A trial that ``worker`` has begun and reported once."""
    assert http.post("/v1/studies", json=spec()).status_code == 201
    worker.prepare()
    held = worker.take()
    worker.report(held, 1, 0.5)
    return held


def let_pass(store: Store, clock: FakeClock, seconds: float) -> int:
    """Let time pass while the service beats; return how many leases were reaped."""
    reaped = 0
    while seconds > 0:
        clock.advance(min(seconds, REAP_SECONDS))
        seconds -= REAP_SECONDS
        reaped += reap(store)
    return reaped


def trial(http: TestClient, number: int = 0) -> dict[str, Any]:
    detail: dict[str, Any] = http.get(f"/v1/studies/feedback/trials/{number}").json()
    return detail


def assert_lost(answer: Any) -> None:
    assert (answer.status_code, answer.json()["code"]) == (409, "lease-lost")


def test_a_lease_is_live_at_its_expiry_and_reaped_after_it(
    http: TestClient, held: dict[str, Any], store: Store, clock: FakeClock
) -> None:
    assert let_pass(store, clock, LEASE_SECONDS) == 0
    assert trial(http)["state"] == "RUNNING"
    clock.advance(0.001)
    assert reap(store) == 1
    assert trial(http)["state"] == "WAITING"
    assert trial(http)["attempts"][0]["end"] == "lost"


def test_a_late_heartbeat_revives_a_lease_that_nobody_has_reaped(
    held: dict[str, Any], worker: HandWorker, store: Store, clock: FakeClock
) -> None:
    clock.advance(LEASE_SECONDS + 1)
    assert worker.heartbeat(held) == "continue"
    assert reap(store) == 0
    assert worker.report(held, 2, 0.4)["directive"] == "continue"


def test_a_reaped_worker_changes_nothing(
    http: TestClient, held: dict[str, Any], worker: HandWorker, store: Store, clock: FakeClock, settings: Any
) -> None:
    let_pass(store, clock, LEASE_SECONDS + 1)
    other = HandWorker(http).take()
    assert (other["number"], other["attempt"], other["params"]) == (0, 2, held["params"])
    before = trial(http)
    assert worker.heartbeat(held) == "lost"
    assert worker.report(held, 2, 0.1)["directive"] == "lost"
    assert_lost(worker.upload(held, "weights.bin", b"stale"))
    assert_lost(worker.finish(held))
    assert_lost(worker.release(held))
    log = http.put(f"/v1/leases/{held['lease_id']}/log", content="x", headers={"Lease-Token": held["token"]})
    assert_lost(log)
    assert trial(http) == before
    assert not list(settings.artifacts.glob("*/*"))


def test_files_of_a_lost_attempt_are_swept_away(
    http: TestClient, held: dict[str, Any], worker: HandWorker, store: Store, settings: Any
) -> None:
    assert worker.upload(held, "weights.bin", b"never to be seen").status_code == 204
    remove_unused_folders(store, settings.artifacts)
    assert [path.name for path in settings.artifacts.glob("*/*")] == ["weights.bin"]
    worker.release(held)
    remove_unused_folders(store, settings.artifacts)
    assert list(settings.artifacts.iterdir()) == []
    again = worker.take()
    worker.report(again, 1, 0.5, final=True)
    worker.upload(again, "weights.bin", b"the model")
    worker.finish(again)
    remove_unused_folders(store, settings.artifacts)
    assert (settings.artifacts / again["lease_id"] / "weights.bin").read_bytes() == b"the model"


def test_a_new_attempt_is_not_judged_by_what_the_old_one_reported(
    http: TestClient, held: dict[str, Any], worker: HandWorker
) -> None:
    assert worker.release(held).status_code == 204
    assert trial(http)["state"] == "WAITING"
    again = HandWorker(http).take()
    assert (again["number"], again["attempt"]) == (0, 2)
    assert trial(http)["intermediate_values"] == []
    assert worker.http.get("/v1/studies/feedback/trials").json()["trials"][0]["step"] == 0


def test_asking_again_returns_ones_own_trial_with_a_new_token(held: dict[str, Any], worker: HandWorker) -> None:
    again = worker.take()
    assert (again["number"], again["attempt"], again["lease_id"]) == (0, 1, held["lease_id"])
    assert again["token"] != held["token"]
    assert worker.heartbeat(held) == "lost"
    assert worker.heartbeat(again) == "continue"


def test_a_token_is_never_given_twice(http: TestClient, worker: HandWorker, held: dict[str, Any]) -> None:
    seen = {held["token"]}
    for _ in range(3):
        again = worker.take()
        assert again["token"] not in seen
        seen.add(again["token"])
        worker.release(again)
        seen.add((held := worker.take())["token"])
    assert len(seen) == 7


def test_a_replayed_report_gets_the_stored_answer(held: dict[str, Any], worker: HandWorker, http: TestClient) -> None:
    first = worker.report(held, 2, 0.4)
    assert worker.report(held, 2, 0.4) == first
    assert len(trial(http)["intermediate_values"]) == 2


def test_another_value_for_a_reported_step_is_refused(
    held: dict[str, Any], worker: HandWorker, http: TestClient
) -> None:
    refused = worker.send_report(held, 1, 0.1)
    assert (refused.status_code, refused.json()["code"]) == (409, "report-conflict")
    assert trial(http)["intermediate_values"][0]["value"] == 0.5


def test_a_replayed_tell_is_harmless_and_another_is_refused(held: dict[str, Any], worker: HandWorker) -> None:
    assert worker.finish(held).json() == {"replayed": False}
    assert worker.finish(held).json() == {"replayed": True}
    other = worker.fail(held)
    assert (other.status_code, other.json()["code"]) == (409, "outcome-refused")


@pytest.mark.parametrize(
    "outcome",
    [
        {"kind": "score", "metrics": {}, "device_seconds": 1.0},
        {"kind": "trial", "state": "FAIL", "device_seconds": 1.0},
        {
            "kind": "trial",
            "state": "COMPLETE",
            "device_seconds": 1.0,
            "failure": {"failure_class": "exception", "message": "?"},
        },
    ],
)
def test_an_outcome_that_makes_no_sense_leaves_the_lease_alive(
    held: dict[str, Any], worker: HandWorker, outcome: dict[str, Any]
) -> None:
    assert worker.tell(held, outcome).json()["code"] == "outcome-refused"
    assert worker.heartbeat(held) == "continue"


def test_a_trial_without_a_report_cannot_be_complete(
    http: TestClient, worker: HandWorker, held: dict[str, Any]
) -> None:
    second = HandWorker(http).take()
    assert worker.finish(second).json()["code"] == "outcome-refused"


def test_a_trial_fails_after_three_counted_attempts(
    http: TestClient, held: dict[str, Any], store: Store, clock: FakeClock
) -> None:
    for attempt in (1, 2, 3):
        assert trial(http)["attempts"][-1]["attempt"] == attempt
        let_pass(store, clock, LEASE_SECONDS + 1)
        if attempt < 3:
            assert HandWorker(http).take()["number"] == 0
    failed = trial(http)
    assert (failed["state"], failed["failure"]["failure_class"]) == ("FAIL", "lost")
    assert HandWorker(http).take()["number"] == 1


def test_preemptions_are_not_counted_but_have_a_limit(
    http: TestClient, held: dict[str, Any], worker: HandWorker
) -> None:
    for _ in range(9):
        worker.release(held)
        held = worker.take()
        assert held["number"] == 0
    worker.release(held)
    assert trial(http)["failure"]["failure_class"] == "preempted"


def test_a_broken_device_is_tried_once_more(http: TestClient, held: dict[str, Any], worker: HandWorker) -> None:
    worker.fail(held, "device_error")
    again = worker.take()
    assert (again["number"], again["attempt"]) == (0, 2)
    worker.fail(again, "device_error")
    assert trial(http)["failure"]["failure_class"] == "device_error"


def test_after_an_outage_every_lease_gets_a_full_term(
    http: TestClient, held: dict[str, Any], worker: HandWorker, store: Store, clock: FakeClock
) -> None:
    clock.advance(10 * LEASE_SECONDS)
    assert let_pass(store, clock, LEASE_SECONDS) == 0
    assert worker.heartbeat(held) == "continue"
    assert let_pass(store, clock, LEASE_SECONDS + REAP_SECONDS) == 1


def test_the_leases_of_a_worker_seen_dead_are_taken_back_at_once(
    http: TestClient, held: dict[str, Any], worker: HandWorker, store: Store
) -> None:
    assert reap_worker(store, worker.worker_id) == 1
    assert trial(http)["state"] == "WAITING"
    assert worker.heartbeat(held) == "lost"


def test_workers_of_an_earlier_launcher_cost_no_attempt(http: TestClient, store: Store) -> None:
    http.post("/v1/studies", json=spec())
    HandWorker(http).prepare()
    for _ in range(5):
        worker = HandWorker(http)
        with store.writing() as tx:
            tx.connection.exec_driver_sql(f"UPDATE worker SET launcher = 'home' WHERE worker_id = '{worker.worker_id}'")
            assert worker.worker_id in workers.launched_by(tx, "home")
        assert worker.take()["number"] == 0
        assert reap_launched(store, "home") == 1
    assert trial(http)["state"] == "WAITING"


def test_a_worker_that_cannot_keep_the_pinned_precision_gets_no_trial(http: TestClient) -> None:
    http.post("/v1/studies", json=spec())
    HandWorker(http, bf16=True).prepare(precision="bf16")
    assert HandWorker(http).dispatch() == []
    assert HandWorker(http, bf16=True).take()["number"] == 0


def test_n_parallel_limits_leased_trials(http: TestClient, worker: HandWorker) -> None:
    http.post("/v1/studies", json=spec(n_parallel=1))
    worker.prepare()
    held = worker.take()
    assert HandWorker(http).dispatch() == []
    worker.report(held, 1, 0.5, final=True)
    worker.finish(held)
    assert HandWorker(http).take()["number"] == 1


def test_several_slots_get_several_trials_of_one_study(http: TestClient, worker: HandWorker) -> None:
    http.post("/v1/studies", json=spec())
    worker.prepare()
    assert [held["number"] for held in worker.dispatch(slots=5)] == [0, 1, 2]


def test_the_study_with_the_fewest_leased_trials_comes_first(http: TestClient, worker: HandWorker) -> None:
    for name in ("older", "younger"):
        http.post("/v1/studies", json=spec(name=name))
    other = HandWorker(http)
    for preparer, held in ((worker, worker.take()), (other, other.take())):
        preparer.tell(held, {"kind": "prepare", "facts": FACTS, "device_seconds": 1.0})
    taken = [HandWorker(http).take()["study"] for _ in range(4)]
    assert taken == ["older", "younger", "older", "younger"]


def test_an_unknown_worker_is_told_to_register(http: TestClient) -> None:
    answer = http.post(f"/v1/workers/{'0' * 32}/dispatch", json={})
    assert (answer.status_code, answer.json()["code"]) == (404, "worker-unknown")


def test_an_old_worker_is_told_to_upgrade(http: TestClient) -> None:
    device = {"kind": "cpu", "name": "x", "memory_bytes": 0, "bf16": False}
    registration = {"worker_id": "a" * 32, "host": "h", "device": device, "versions": {}, "protocol": 0}
    answer = http.post("/v1/workers", json=registration)
    assert (answer.status_code, answer.json()["code"]) == (426, "protocol-too-old")
