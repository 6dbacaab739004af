"""Until when a worker may write to a trial: leases expire, are reaped, and are taken back from dead workers."""

from typing import Any

import pytest
from fastapi.testclient import TestClient

from service.files.folder_files import FolderFiles
from service.lease_and_heartbeat_terms import LEASE_SECONDS, REAP_SECONDS
from service.lifecycle.leases.reap import reap, reap_launched, reap_worker
from service.lifecycle.leases.take_back import take_back
from service.lifecycle.model_folders import remove_unused_folders
from service.store import workers
from service.store.store import Store
from tests.conftest import FakeClock
from tests.service.hand_worker import HandWorker, spec
from tests.service.held_trial import let_pass, trial


def assert_lost(answer: Any) -> None:
    assert (answer.status_code, answer.json()["code"]) == (409, "lease-lost")


def test_a_lease_is_live_at_its_expiry_and_reaped_after_it(
    http: TestClient, held: dict[str, Any], beating_store: Store, clock: FakeClock
) -> None:
    assert let_pass(beating_store, clock, LEASE_SECONDS) == 0
    assert trial(http)["state"] == "RUNNING"
    clock.advance(0.001)
    assert reap(beating_store) == 1
    assert trial(http)["state"] == "WAITING"
    assert trial(http)["attempts"][0]["end"] == "lost"


def test_a_late_heartbeat_revives_a_lease_that_nobody_has_reaped(
    held: dict[str, Any], worker: HandWorker, beating_store: Store, clock: FakeClock
) -> None:
    clock.advance(LEASE_SECONDS + 1)
    assert worker.heartbeat(held) == "continue"
    assert reap(beating_store) == 0
    assert worker.report(held, 2, 0.4)["directive"] == "continue"


def test_a_reaped_worker_changes_nothing(
    http: TestClient, held: dict[str, Any], worker: HandWorker, beating_store: Store, clock: FakeClock, settings: Any
) -> None:
    let_pass(beating_store, clock, LEASE_SECONDS + 1)
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
    assert not list((settings.files / "artifacts").glob("*/*"))


def test_files_of_a_lost_attempt_are_swept_away(
    http: TestClient, held: dict[str, Any], worker: HandWorker, beating_store: Store, settings: Any
) -> None:
    assert worker.upload(held, "weights.bin", b"never to be seen").status_code == 204
    remove_unused_folders(beating_store, FolderFiles(settings.files))
    assert [path.name for path in (settings.files / "artifacts").glob("*/*")] == ["weights.bin"]
    worker.release(held)
    remove_unused_folders(beating_store, FolderFiles(settings.files))
    assert list((settings.files / "artifacts").iterdir()) == []
    again = worker.take()
    worker.report(again, 1, 0.5, final=True)
    worker.upload(again, "weights.bin", b"the model")
    worker.finish(again)
    remove_unused_folders(beating_store, FolderFiles(settings.files))
    assert ((settings.files / "artifacts") / again["lease_id"] / "weights.bin").read_bytes() == b"the model"


def test_after_an_outage_every_lease_gets_a_full_term(
    http: TestClient, held: dict[str, Any], worker: HandWorker, beating_store: Store, clock: FakeClock
) -> None:
    clock.advance(10 * LEASE_SECONDS)
    assert let_pass(beating_store, clock, LEASE_SECONDS) == 0
    assert worker.heartbeat(held) == "continue"
    assert let_pass(beating_store, clock, LEASE_SECONDS + REAP_SECONDS) == 1


def test_the_leases_of_a_worker_seen_dead_are_taken_back_at_once(
    http: TestClient, held: dict[str, Any], worker: HandWorker, beating_store: Store
) -> None:
    assert reap_worker(beating_store, worker.worker_id) == 1
    assert trial(http)["state"] == "WAITING"
    assert worker.heartbeat(held) == "lost"


def test_workers_of_an_earlier_launcher_cost_no_attempt(http: TestClient, beating_store: Store) -> None:
    http.post("/v1/studies", json=spec())
    HandWorker(http).prepare()
    for _ in range(5):
        worker = HandWorker(http)
        with beating_store.writing() as tx:
            tx.connection.exec_driver_sql(f"UPDATE worker SET launcher = 'home' WHERE worker_id = '{worker.worker_id}'")
            assert workers.launched_with_leases(tx, "home") == []
        assert worker.take()["number"] == 0
        with beating_store.reading() as tx:
            assert workers.launched_with_leases(tx, "home") == [worker.worker_id]
        assert reap_launched(beating_store, "home") == 1
    assert trial(http)["state"] == "WAITING"


def test_what_keeps_one_trial_from_being_taken_back_keeps_no_other(
    http: TestClient,
    held: dict[str, Any],
    worker: HandWorker,
    beating_store: Store,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    HandWorker(http).take()
    HandWorker(http).take()

    def fail(tx: Any, study: Any, lease: Any, *arguments: Any, **more: Any) -> Any:
        if lease.number == 1:
            raise ZeroDivisionError
        return take_back(tx, study, lease, *arguments, **more)

    monkeypatch.setattr("service.lifecycle.leases.reap.take_back", fail)
    with pytest.raises(ExceptionGroup, match="failed for 1 of 3"):
        let_pass(beating_store, clock, LEASE_SECONDS + 1)
    assert [trial(http, number)["state"] for number in range(3)] == ["WAITING", "RUNNING", "WAITING"]


@pytest.mark.parametrize("end", ["reaped", "seen to die", "released", "device error"])
def test_a_decision_to_prune_outlives_the_worker_that_was_told(
    http: TestClient, worker: HandWorker, beating_store: Store, clock: FakeClock, end: str
) -> None:
    http.post("/v1/studies", json=spec(pruner={"name": "threshold", "options": {"upper": 1.0}}, n_trials=2))
    worker.prepare()
    held = worker.take()
    worker.report(held, 1, 0.5)
    assert worker.report(held, 2, 9.0)["should_prune"]
    if end == "reaped":
        let_pass(beating_store, clock, LEASE_SECONDS + 1)
    elif end == "seen to die":
        reap_worker(beating_store, worker.worker_id)
    elif end == "released":
        worker.release(held)
    else:
        worker.fail(held, "device_error")
    ended = trial(http)
    assert (ended["state"], ended["value"], ended["failure"]) == ("PRUNED", 9.0, None)
    assert len(ended["attempts"]) == 1
    other = HandWorker(http)
    assert other.take()["number"] == 1
    assert http.get("/v1/studies/feedback").json()["trials"]["pruned"] == 1


def test_a_trial_that_was_pruned_stays_so_when_its_study_is_cancelled_and_its_worker_lost(
    http: TestClient, worker: HandWorker, beating_store: Store
) -> None:
    http.post("/v1/studies", json=spec(pruner={"name": "threshold", "options": {"upper": 1.0}}))
    worker.prepare()
    held = worker.take()
    assert worker.report(held, 1, 9.0)["should_prune"]
    http.post("/v1/studies/feedback/cancel")
    reap_worker(beating_store, worker.worker_id)
    assert trial(http)["state"] == "PRUNED"
    assert http.get("/v1/studies/feedback").json()["state"] == "cancelled"


def test_a_worker_is_forgotten_30_days_after_it_was_last_heard_of_and_may_come_back(
    http: TestClient, held: dict[str, Any], worker: HandWorker, beating_store: Store, clock: FakeClock
) -> None:
    """One that holds a lease is known as long as it does."""
    idle = HandWorker(http)

    def known() -> set[str]:
        reap(beating_store)
        reap(beating_store)  # the first one after a silence of the service spares everybody
        with beating_store.reading() as tx:
            return {one.worker_id for one in (worker, idle) if tx.ask(workers.find(one.worker_id)) is not None}

    clock.advance(30 * 24 * 3600)
    assert known() == {worker.worker_id, idle.worker_id}
    assert worker.heartbeat(held) == "continue"
    clock.advance(1)
    assert known() == {worker.worker_id}
    answer = http.post(f"/v1/workers/{idle.worker_id}/dispatch", json={"slots": 1})
    assert (answer.status_code, answer.json()["code"]) == (404, "worker-unknown")
