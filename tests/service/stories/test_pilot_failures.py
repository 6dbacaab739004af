"""A pilot that fails is a warning, unless it shows that no trial can succeed."""

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from service.lease_and_heartbeat_terms import LEASE_SECONDS
from service.lifecycle.leases.reap import reap
from tests.conftest import FakeClock
from tests.service.hand_worker import HandWorker
from tests.service.pilots import begin_with_pilots, fail_pilot, run_pilots, study


@pytest.mark.parametrize("failure_class", ["data_error", "config_error"])
def test_a_mistake_ends_the_study_before_it_costs(http: TestClient, worker: HandWorker, failure_class: str) -> None:
    begin_with_pilots(http, worker)
    first, second = worker.dispatch(slots=2)
    assert fail_pilot(worker, first, failure_class).status_code == 200
    assert study(http)["state"] == "stopping"
    assert worker.heartbeat(second) == "cancel"
    assert fail_pilot(worker, second, "cancelled").status_code == 200
    shown = study(http)
    assert shown["state"] == "failed"
    assert shown["failure"]["failure_class"] == failure_class
    assert shown["failure"]["message"] == f"the small run of trial 0 failed as {failure_class}: it broke"
    assert shown["trials"]["fail"] == 3
    assert worker.dispatch() == []


def test_a_small_run_that_diverges_is_a_warning(http: TestClient, worker: HandWorker) -> None:
    begin_with_pilots(http, worker, start_small={"fraction": 0.1, "trials": 1})
    assert fail_pilot(worker, worker.take(), "diverged").status_code == 200
    assert "the small run of trial 0 failed as diverged: it broke" in study(http)["warnings"]
    assert worker.run_trial(0.5)["number"] == 0
    (run,) = study(http)["start_small"]["runs"]
    assert run == {"number": 0, "value": None, "failure": "diverged: it broke", "full_value": 0.5}


def test_where_no_small_run_succeeds_the_study_ends(http: TestClient, worker: HandWorker) -> None:
    begin_with_pilots(http, worker)
    for _ in range(3):
        assert study(http)["state"] == "running"
        assert fail_pilot(worker, worker.take(), "exception").status_code == 200
    shown = study(http)
    assert shown["state"] == "failed"
    assert shown["failure"]["message"] == "no small run succeeded; the last: it broke"


def test_where_one_small_run_succeeds_the_study_goes_on(http: TestClient, worker: HandWorker) -> None:
    begin_with_pilots(http, worker)
    run_pilots(worker, 0.5)
    for _ in range(2):
        assert fail_pilot(worker, worker.take(), "exception").status_code == 200
    assert worker.take()["kind"] == "trial"


def test_a_small_run_that_kills_its_workers_is_given_up(
    app: FastAPI, http: TestClient, worker: HandWorker, clock: FakeClock
) -> None:
    begin_with_pilots(http, worker, start_small={"fraction": 0.1, "trials": 2})
    run_pilots(worker, 0.5)
    store = app.state.parts.store
    for _ in range(3):
        assert HandWorker(http).take()["number"] == 1
        reap(store)
        for _ in range(4):
            clock.advance(LEASE_SECONDS / 4 + 1)
            reap(store)
    assert HandWorker(http).take()["kind"] == "trial"
    assert "the small run of trial 1 failed as lost" in study(http)["warnings"][-1]


def test_a_cancelled_study_ends_with_its_small_runs(http: TestClient, worker: HandWorker) -> None:
    begin_with_pilots(http, worker)
    held = worker.take()
    http.post("/v1/studies/feedback/cancel")
    assert worker.heartbeat(held) == "cancel"
    assert fail_pilot(worker, held, "cancelled").status_code == 200
    shown = study(http)
    assert (shown["state"], shown["start_small"]["runs"]) == ("cancelled", [])
