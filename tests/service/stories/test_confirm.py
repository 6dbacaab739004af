"""A winner is confirmed under fresh seeds after the search, beside the other best trials and the baseline."""

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from service.lease_and_heartbeat_terms import LEASE_SECONDS
from tests.conftest import FakeClock
from tests.service.confirming import confirmation, fail_run, run_all, search, state, tell_run
from tests.service.hand_worker import HandWorker
from tests.service.held_trial import let_pass

CONFIRMED = {0: 0.9, 1: 0.7, 2: 0.5}


def test_the_confirmed_winner_is_the_best_and_scored_once(http: TestClient, worker: HandWorker) -> None:
    search(http, worker, 0.9, data={"train": "train.csv", "test": "test.csv"}, n_trials=3)
    assert confirmation(http)["state"] == "waiting"
    for value in (0.4, 0.5):
        held = worker.take()
        assert worker.report(held, 1, value, final=True)["keep_model"]
        worker.upload(held, "config.json", str(value).encode())
        assert worker.finish(held).status_code == 200
    assert (state(http), confirmation(http)["state"]) == ("running", "running")
    assert http.get("/v1/studies/feedback/best").json()["number"] == 1
    assert run_all(worker, CONFIRMED) == [(number, seed) for seed in range(3) for number in (1, 2, 0)]
    score = worker.take()
    assert (score["kind"], score["number"]) == ("score", 2)
    assert worker.tell(score, {"kind": "score", "metrics": {"test_loss": 0.6}, "device_seconds": 1.0}).is_success
    best, study = http.get("/v1/studies/feedback/best").json(), http.get("/v1/studies/feedback").json()
    assert (study["state"], study["n_confirm_runs"], study["trials"]["complete"]) == ("complete", 9, 3)
    assert study["device_seconds"] == 1.0 + 3 * 2.0 + 9 * 0.5 + 1.0
    assert (best["number"], study["best"], best["metrics"]["test_loss"]) == (2, {"number": 2, "value": 0.5}, 0.6)
    assert (best["confirmation"]["verdict"], best["confirmation"]["searched_winner"]) == ("better", 1)
    assert b"0.5" in http.get("/v1/studies/feedback/best/model").content
    assert worker.dispatch() == []


@pytest.mark.slow
def test_runs_are_shared_among_workers_up_to_n_parallel(http: TestClient, worker: HandWorker) -> None:
    search(http, worker, 0.9, 0.4, n_parallel=2)
    other = HandWorker(http)
    held = [worker.take(), other.take()]
    assert [(one["number"], one["fresh_seed"]) for one in held] == [(1, 0), (0, 0)]
    assert HandWorker(http).dispatch() == []
    assert tell_run(worker, held[0], 0.4).status_code == 200
    assert worker.take()["fresh_seed"] == 1


@pytest.mark.slow
def test_a_run_that_is_lost_is_made_again_and_counts_once(
    app: FastAPI, http: TestClient, worker: HandWorker, clock: FakeClock
) -> None:
    search(http, worker, 0.9, 0.4)
    store = app.state.parts.store
    let_pass(store, clock, 1.0)
    lost = worker.take()
    assert let_pass(store, clock, LEASE_SECONDS + 30) == 1
    other = HandWorker(http)
    again = other.take()
    assert (again["number"], again["fresh_seed"], again["attempt"]) == (1, 0, 2)
    assert tell_run(worker, lost, 0.1).status_code == 409
    assert tell_run(other, again, 0.4).json() == {"replayed": False}
    assert tell_run(other, again, 0.4).json() == {"replayed": True}
    assert tell_run(other, again, 0.5).status_code == 409
    assert [run["value"] for run in confirmation(http)["runs"]] == [0.4]


@pytest.mark.slow
def test_a_run_that_is_lost_three_times_has_failed(
    app: FastAPI, http: TestClient, worker: HandWorker, clock: FakeClock
) -> None:
    search(http, worker, 0.9, 0.4)
    store = app.state.parts.store
    let_pass(store, clock, 1.0)
    for _ in range(3):
        HandWorker(http).take()
        assert let_pass(store, clock, LEASE_SECONDS + 30) == 1
    (run,) = confirmation(http)["runs"]
    assert run["failure"].startswith("lost: ")
    assert (worker.take()["number"], run["number"]) == (0, 1)


@pytest.mark.slow
def test_outcomes_that_say_nothing_are_refused_and_reports_too(http: TestClient, worker: HandWorker) -> None:
    search(http, worker, 0.9, 0.4)
    held = worker.take()
    for outcome in ({"kind": "confirm"}, {"kind": "confirm", "metrics": {"accuracy": 0.5}}, {"kind": "small"}):
        refused = worker.tell(held, outcome | {"device_seconds": 0.5})
        assert (refused.status_code, refused.json()["code"]) == (409, "outcome-refused")
    assert worker.send_report(held, 1, 0.5).json()["code"] == "outcome-refused"
    many = {"kind": "confirm", "metrics": {"validation_loss": 0.5}, "row_scores": [0.5] * 4_097, "device_seconds": 1.0}
    assert worker.tell(held, many).status_code == 422
    assert tell_run(worker, held, 0.5).status_code == 200


@pytest.mark.slow
def test_log_lines_of_a_run_are_those_of_its_trial(http: TestClient, worker: HandWorker) -> None:
    search(http, worker, 0.9, 0.4)
    held = worker.take()
    path = f"/v1/leases/{held['lease_id']}/log"
    assert http.put(path, content=b"training again", headers={"Lease-Token": held["token"]}).is_success
    assert "training again" in http.get("/v1/studies/feedback/trials/1/log").text


@pytest.mark.slow
def test_a_paused_study_starts_no_runs_until_it_is_resumed(http: TestClient, worker: HandWorker) -> None:
    search(http, worker, 0.9, 0.4)
    held = worker.take()
    http.post("/v1/studies/feedback/pause")
    assert tell_run(worker, held, 0.4).status_code == 200
    assert (worker.dispatch(), state(http)) == ([], "paused")
    http.post("/v1/studies/feedback/resume")
    run_all(worker, CONFIRMED, n=5)
    assert (state(http), confirmation(http)["state"]) == ("complete", "complete")


@pytest.mark.slow
def test_a_stopped_study_claims_nothing_and_ends_its_runs(http: TestClient, worker: HandWorker) -> None:
    search(http, worker, 0.9, 0.4)
    run_all(worker, CONFIRMED, n=2)
    held = worker.take()
    assert worker.heartbeat(held) == "continue"
    http.post("/v1/studies/feedback/stop")
    http.post("/v1/studies/feedback/stop")
    assert worker.heartbeat(held) == "cancel"
    assert state(http) == "stopping"
    assert fail_run(worker, held, "cancelled").status_code == 200
    found = confirmation(http)
    assert (state(http), found["state"], found["winner"], found["verdict"]) == ("complete", "incomplete", None, None)
    why = "not confirmed: the study was stopped; 2 of 6 runs under fresh seeds have ended, and nothing is claimed"
    assert found["sentence"] == why
    assert [run["value"] for run in found["runs"]] == pytest.approx([0.69, 0.89])
    assert http.get("/v1/studies/feedback/best").json()["number"] == 1


@pytest.mark.slow
def test_a_cancelled_study_claims_nothing(http: TestClient, worker: HandWorker) -> None:
    search(http, worker, 0.9, 0.4)
    held = worker.take()
    http.post("/v1/studies/feedback/cancel")
    assert worker.heartbeat(held) == "cancel"
    assert fail_run(worker, held, "cancelled").status_code == 200
    found = confirmation(http)
    assert (state(http), found["state"], found["runs"]) == ("cancelled", "incomplete", [])
    assert "the study was cancelled" in found["sentence"]


@pytest.mark.slow
def test_a_target_that_is_reached_ends_the_search_and_its_winner_is_confirmed(
    http: TestClient, worker: HandWorker
) -> None:
    search(http, worker, 0.9, 0.4, n_trials=5, target_value=0.45)
    assert state(http) == "stopping"
    run_all(worker, CONFIRMED, n=6)
    assert (state(http), confirmation(http)["state"]) == ("complete", "complete")


@pytest.mark.slow
def test_an_extended_search_outdates_the_confirmation_and_makes_only_new_runs(
    http: TestClient, worker: HandWorker
) -> None:
    search(http, worker, 0.9, 0.4)
    assert fail_run(worker, worker.take(), "diverged").status_code == 200
    run_all(worker, CONFIRMED, n=5)
    assert confirmation(http)["winner"] == 0
    assert http.patch("/v1/studies/feedback", json={"n_trials": 3}).status_code == 200
    assert confirmation(http)["state"] == "complete"  # what has been found holds until a trial starts
    held = worker.take()
    assert (held["kind"], confirmation(http)["state"]) == ("trial", "waiting")
    worker.report(held, 1, 0.45, final=True)
    assert worker.finish(held).status_code == 200
    # what failed gets another chance, and what has a value under these very seeds would come to it again
    assert run_all(worker, CONFIRMED, n=4) == [(1, 0), (2, 0), (2, 1), (2, 2)]
    found = confirmation(http)
    assert (state(http), found["state"], found["winner"], found["n_runs"]) == ("complete", "complete", 2, 9)


@pytest.mark.slow
def test_a_search_that_is_extended_in_the_middle_of_runs_keeps_them(http: TestClient, worker: HandWorker) -> None:
    search(http, worker, 0.9, 0.4)
    run = worker.take()
    assert http.patch("/v1/studies/feedback", json={"n_trials": 3}).status_code == 200
    other = HandWorker(http)
    assert other.run_trial(0.5)["number"] == 2
    assert worker.heartbeat(run) == "continue"
    assert tell_run(worker, run, 0.7).status_code == 200
    assert (1, 0) not in run_all(worker, CONFIRMED, n=8)
    assert (state(http), confirmation(http)["winner"]) == ("complete", 2)


@pytest.mark.slow
def test_runs_that_time_is_up_for_are_told_and_nothing_is_claimed(
    app: FastAPI, http: TestClient, worker: HandWorker, clock: FakeClock
) -> None:
    search(http, worker, 0.9, 0.4, timeout_seconds=100.0)
    held = worker.take()
    assert 0 < held["seconds_left"] <= 100
    clock.advance(101)
    assert HandWorker(http).dispatch() == []
    assert fail_run(worker, held, "budget").status_code == 200
    found = confirmation(http)
    assert (state(http), found["state"], found["winner"]) == ("complete", "incomplete", None)
    assert "its timeout_seconds have passed" in found["sentence"]


@pytest.mark.parametrize("n_done", [2, 5], ids=["runs are missing", "one was cut short"])
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_confirmation_that_time_was_up_for_goes_on_when_there_is_more(
    http: TestClient, worker: HandWorker, clock: FakeClock, n_done: int
) -> None:
    search(http, worker, 0.9, 0.4, timeout_seconds=100.0, device_seconds=1000.0)
    run_all(worker, CONFIRMED, n=n_done)
    held = worker.take()
    clock.advance(101)
    assert fail_run(worker, held, "budget").status_code == 200
    assert (state(http), confirmation(http)["state"]) == ("complete", "incomplete")
    refused = http.patch("/v1/studies/feedback", json={"device_seconds": 2000.0})
    assert (refused.status_code, refused.json()["code"]) == (409, "study-ended")
    assert refused.json()["detail"].endswith("its timeout_seconds have passed; raise that limit too")
    assert http.patch("/v1/studies/feedback", json={"timeout_seconds": 1000.0}).status_code == 200
    assert (state(http), confirmation(http)["state"]) == ("running", "running")
    in_order = [(number, seed) for seed in range(3) for number in (1, 0)]
    assert run_all(worker, CONFIRMED, n=6 - n_done) == in_order[n_done:]  # what was done stays good
    assert (state(http), confirmation(http)["state"], confirmation(http)["winner"]) == ("complete", "complete", 1)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_raising_a_budget_changes_nothing_of_a_confirmation_that_is_complete(
    http: TestClient, worker: HandWorker
) -> None:
    search(http, worker, 0.9, 0.4, timeout_seconds=100.0)
    run_all(worker, CONFIRMED, n=6)
    before = http.get("/v1/studies/feedback/best").json()
    assert http.patch("/v1/studies/feedback", json={"timeout_seconds": 1000.0}).status_code == 200
    assert (state(http), http.get("/v1/studies/feedback/best").json()) == ("complete", before)


@pytest.mark.slow
def test_runs_are_in_the_budget_of_device_seconds(http: TestClient, worker: HandWorker) -> None:
    search(http, worker, 0.9, 0.4, device_seconds=8.0)  # of which the trials have used 4
    n_runs = 0
    while state(http) == "running":
        held = worker.take()
        assert held["kind"] == "confirm"
        outcome = {"kind": "confirm", "metrics": {"validation_loss": 0.5}, "device_seconds": 1.5}
        assert worker.tell(held, outcome).status_code == 200
        n_runs += 1
    found = confirmation(http)
    assert (n_runs, found["state"], len(found["runs"])) == (2, "incomplete", 2)
    assert "too little of its device_seconds is left" in found["sentence"]


@pytest.mark.slow
def test_a_deleted_study_leaves_no_runs(http: TestClient, worker: HandWorker) -> None:
    search(http, worker, 0.9, 0.4)
    run_all(worker, CONFIRMED, n=1)
    assert http.delete("/v1/studies/feedback").status_code == 204
    search(http, worker, 0.9, 0.4)
    assert confirmation(http)["runs"] == []


@pytest.mark.slow
def test_a_study_without_confirm_says_nothing_of_it(http: TestClient, worker: HandWorker) -> None:
    search(http, worker, 0.9, 0.4, confirm=None)
    assert state(http) == "complete"
    assert confirmation(http) is None
