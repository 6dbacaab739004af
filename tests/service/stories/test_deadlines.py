"""timeout_seconds: a clock that a pause stops, and that ends a study whether workers come or not."""

import io
import time
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from service.lease_and_heartbeat_terms import SCORE_WAIT_SECONDS
from service.lifecycle.leases.reap import reap
from service.lifecycle.studies.settle_overdue import settle_overdue
from service.store import studies
from service.store.store import Store
from spezia.cli.follow import StudyUnsuccessful, follow
from spezia.client import Client
from spezia.terminal.screen import Screen
from tests.conftest import FakeClock
from tests.service.conftest import URL
from tests.service.hand_worker import HandWorker, spec

STUDY = "/v1/studies/feedback"
TESTED = {"train": "train.csv", "test": "test.csv"}


@pytest.fixture
def store(app: FastAPI) -> Store:
    store: Store = app.state.parts.store
    return store


def begin(http: TestClient, **changes: Any) -> None:
    assert http.post("/v1/studies", json=spec(**{"timeout_seconds": 100.0} | changes)).status_code == 201


def study_of(http: TestClient) -> dict[str, Any]:
    shown: dict[str, Any] = http.get(STUDY).json()
    return shown


def act(http: TestClient, verb: str) -> None:
    assert http.post(f"{STUDY}/{verb}").status_code == 202


def complete_one(worker: HandWorker) -> dict[str, Any]:
    """Run a trial to its end, and keep its model."""
    held = worker.take()
    worker.report(held, 1, 0.5, final=True)
    worker.upload(held, "weights.bin", b"model")
    worker.finish(held)
    return held


# the time is up while nobody asks


def test_a_study_ends_at_its_deadline_and_not_before(http: TestClient, store: Store, clock: FakeClock) -> None:
    begin(http)
    clock.advance(99.999)
    settle_overdue(store)
    assert study_of(http)["state"] == "running"
    clock.advance(0.001)
    settle_overdue(store)
    study = study_of(http)
    assert (study["state"], study["elapsed_seconds"]) == ("complete", 100.0)


def test_waiting_trials_of_an_overdue_study_are_cancelled(
    http: TestClient, worker: HandWorker, store: Store, clock: FakeClock
) -> None:
    begin(http, enqueue=[{}, {}])
    worker.prepare()
    clock.advance(100)
    settle_overdue(store)
    study = study_of(http)
    assert (study["state"], study["trials"]["fail"], study["failures"]) == ("complete", 2, {})


def test_an_overdue_study_of_a_dead_worker_ends_with_its_lease(
    http: TestClient, worker: HandWorker, store: Store, clock: FakeClock
) -> None:
    reap(store)
    begin(http)
    worker.prepare()
    worker.take()
    states = []
    for _ in range(8):
        clock.advance(15)
        reap(store)
        settle_overdue(store)
        states.append(study_of(http)["state"])
    assert states == ["running"] * 6 + ["complete"] * 2  # the lease is over after 90 s, the study after 100


def test_an_overdue_study_leaves_its_live_trial_to_its_worker(
    http: TestClient, worker: HandWorker, store: Store, clock: FakeClock
) -> None:
    begin(http)
    worker.prepare()
    held = worker.take()
    clock.advance(100)
    settle_overdue(store)
    assert study_of(http)["state"] == "stopping"
    worker.report(held, 1, 0.5, final=True)
    worker.finish(held)
    assert study_of(http)["state"] == "complete"


def test_an_overdue_study_is_not_prepared(http: TestClient, worker: HandWorker, clock: FakeClock) -> None:
    begin(http)
    clock.advance(100)
    assert worker.dispatch() == []
    assert study_of(http)["state"] == "complete"


def test_only_overdue_studies_are_settled(http: TestClient, store: Store, clock: FakeClock) -> None:
    begin(http, name="late")
    begin(http, name="later", timeout_seconds=50.0)
    begin(http, name="paused", timeout_seconds=50.0)
    begin(http, name="patient", timeout_seconds=200.0)
    begin(http, name="eternal", timeout_seconds=None)
    http.post("/v1/studies/paused/pause")
    clock.advance(100)
    with store.reading() as tx:
        found = [studies.find(tx, name).uuid for name in ("later", "late")]
        assert studies.overdue(tx) == found
    settle_overdue(store)
    with store.reading() as tx:
        assert studies.overdue(tx) == []


def test_the_winner_of_an_overdue_study_is_scored_if_a_worker_comes(
    http: TestClient, worker: HandWorker, store: Store, clock: FakeClock
) -> None:
    begin(http, data=TESTED)
    worker.prepare()
    complete_one(worker)
    clock.advance(100)
    settle_overdue(store)
    clock.advance(SCORE_WAIT_SECONDS - 0.001)
    settle_overdue(store)
    assert study_of(http)["state"] == "stopping"
    worker.tell(worker.take(), {"kind": "score", "metrics": {"test_accuracy": 0.75}, "device_seconds": 1.0})
    assert http.get(f"{STUDY}/best").json()["metrics"]["test_accuracy"] == 0.75


def test_an_overdue_study_does_not_wait_for_its_scoring_for_ever(
    http: TestClient, worker: HandWorker, store: Store, clock: FakeClock
) -> None:
    begin(http, data=TESTED)
    worker.prepare()
    complete_one(worker)
    clock.advance(100 + SCORE_WAIT_SECONDS)
    settle_overdue(store)
    study = study_of(http)
    assert study["state"] == "complete"
    assert "was not scored on the test split" in study["warnings"][-1]
    assert "test_accuracy" not in http.get(f"{STUDY}/best").json()["metrics"]


def test_the_wait_for_the_scoring_begins_when_the_last_trial_has_ended(
    http: TestClient, worker: HandWorker, store: Store, clock: FakeClock
) -> None:
    begin(http, data=TESTED)
    worker.prepare()
    held = worker.take()
    clock.advance(100 + SCORE_WAIT_SECONDS)  # the service was away, and the worker insisted
    worker.report(held, 1, 0.5, final=True)
    worker.upload(held, "weights.bin", b"model")
    worker.finish(held)
    settle_overdue(store)
    assert study_of(http)["state"] == "stopping"
    clock.advance(SCORE_WAIT_SECONDS)
    settle_overdue(store)
    assert study_of(http)["state"] == "complete"


def test_whoever_follows_a_study_without_workers_hears_of_its_end(
    http: TestClient, store: Store, clock: FakeClock
) -> None:
    begin(http)

    def live(seconds: float) -> None:
        clock.advance(20)
        settle_overdue(store)

    client = Client(URL, transport=http._transport, sleep=live)
    with pytest.raises(StudyUnsuccessful, match="feedback is complete"):
        follow(client, client.get_study("feedback"), Screen(file=io.StringIO()))
    assert study_of(http)["elapsed_seconds"] == 100.0


def test_the_service_settles_overdue_studies_by_itself(app: FastAPI, http: TestClient, clock: FakeClock) -> None:
    begin(http)
    clock.advance(100)
    with TestClient(app, base_url=URL) as living:
        deadline = time.monotonic() + 10
        while study_of(living)["state"] != "complete":
            assert time.monotonic() < deadline


# a pause stops the clock


def test_a_paused_study_is_never_overdue(http: TestClient, worker: HandWorker, store: Store, clock: FakeClock) -> None:
    begin(http)
    worker.prepare()
    clock.advance(40)
    act(http, "pause")
    clock.advance(1_000)
    settle_overdue(store)
    study = study_of(http)
    assert (study["state"], study["elapsed_seconds"]) == ("paused", 40.0)
    act(http, "resume")
    assert worker.take()["seconds_left"] == 60.0
    assert study_of(http)["elapsed_seconds"] == 40.0


def test_pauses_add_up_and_a_repeated_one_changes_nothing(
    http: TestClient, worker: HandWorker, store: Store, clock: FakeClock
) -> None:
    begin(http)
    worker.prepare()
    for _ in range(3):
        clock.advance(20)
        act(http, "pause")
        clock.advance(500)
        act(http, "pause")
        clock.advance(500)
        act(http, "resume")
        act(http, "resume")
    assert worker.take()["seconds_left"] == 40.0
    clock.advance(39.999)
    settle_overdue(store)
    assert study_of(http)["state"] == "running"
    clock.advance(0.001)
    settle_overdue(store)
    assert study_of(http)["state"] == "stopping"


def test_a_trial_that_is_handed_out_again_in_a_pause_has_the_time_of_its_study(
    http: TestClient, worker: HandWorker, clock: FakeClock
) -> None:
    begin(http)
    worker.prepare()
    worker.take()
    clock.advance(30)
    act(http, "pause")
    clock.advance(50)
    assert worker.take()["seconds_left"] == 70.0
    act(http, "resume")
    assert worker.take()["seconds_left"] == 70.0


def test_a_trial_that_ends_in_a_pause_does_not_end_its_study(
    http: TestClient, worker: HandWorker, clock: FakeClock
) -> None:
    begin(http)
    worker.prepare()
    held = worker.take()
    act(http, "pause")
    clock.advance(100)
    worker.report(held, 1, 0.5, final=True)
    worker.finish(held)
    assert study_of(http)["state"] == "paused"
    act(http, "resume")
    assert worker.take()["seconds_left"] == 100.0


@pytest.mark.parametrize("timeout_seconds", [30.0, 30.001])
def test_a_timeout_that_is_changed_in_a_pause_is_compared_with_the_clock_that_stands(
    http: TestClient, worker: HandWorker, clock: FakeClock, timeout_seconds: float
) -> None:
    begin(http)
    worker.prepare()
    clock.advance(30)
    act(http, "pause")
    clock.advance(1_000)
    study = http.patch(STUDY, json={"timeout_seconds": timeout_seconds}).json()
    assert study["state"] == ("complete" if timeout_seconds == 30.0 else "paused")
    if study["state"] == "paused":
        act(http, "resume")
        assert worker.take()["seconds_left"] == pytest.approx(0.001)


def test_a_timeout_that_is_given_later_does_not_count_the_pauses_before(
    http: TestClient, worker: HandWorker, store: Store, clock: FakeClock
) -> None:
    begin(http, timeout_seconds=None)
    worker.prepare()
    act(http, "pause")
    clock.advance(500)
    act(http, "resume")
    clock.advance(10)
    http.patch(STUDY, json={"timeout_seconds": 70.0})
    assert worker.take()["seconds_left"] == 60.0
    http.patch(STUDY, json={"timeout_seconds": None})
    clock.advance(10_000)
    settle_overdue(store)
    assert study_of(http)["state"] == "running"


@pytest.mark.parametrize("verb", ["stop", "cancel"])
def test_a_study_that_ends_in_a_pause_goes_on_with_the_time_it_had(
    http: TestClient, worker: HandWorker, clock: FakeClock, verb: str
) -> None:
    begin(http)
    worker.prepare()
    clock.advance(40)
    act(http, "pause")
    clock.advance(1_000)
    act(http, verb)
    assert study_of(http)["elapsed_seconds"] == 40.0
    assert http.patch(STUDY, json={"n_trials": 4}).json()["state"] == "running"
    assert worker.take()["seconds_left"] == 60.0


def test_a_study_whose_pause_is_over_is_extended_by_what_it_lacks(
    http: TestClient, worker: HandWorker, clock: FakeClock
) -> None:
    begin(http, n_trials=1)
    worker.prepare()
    act(http, "pause")
    clock.advance(1_000)
    act(http, "resume")
    worker.run_trial(0.5)
    clock.advance(100)
    answer = http.patch(STUDY, json={"n_trials": 2})
    assert (answer.status_code, answer.json()["code"]) == (409, "study-ended")
    assert http.patch(STUDY, json={"n_trials": 2, "timeout_seconds": 150.0}).json()["state"] == "running"
    assert worker.take()["seconds_left"] == 50.0


def test_a_clock_that_goes_back_in_a_pause_takes_no_time_away(
    http: TestClient, worker: HandWorker, clock: FakeClock
) -> None:
    begin(http)
    worker.prepare()
    clock.advance(40)
    act(http, "pause")
    clock.advance(-20)
    act(http, "resume")
    assert worker.take()["seconds_left"] == 80.0
