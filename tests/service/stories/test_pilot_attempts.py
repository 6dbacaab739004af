"""A pilot has leases as a trial has: it is lost, given back, asked for and told again."""

from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from service.lease_and_heartbeat_terms import LEASE_SECONDS
from service.lifecycle.leases.reap import reap
from tests.conftest import FakeClock
from tests.service.hand_worker import HandWorker
from tests.service.pilots import begin_with_pilots, fail_pilot, study, tell_pilot


def test_a_lost_small_run_is_made_again(app: FastAPI, http: TestClient, worker: HandWorker, clock: FakeClock) -> None:
    begin_with_pilots(http, worker)
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
    assert tell_pilot(worker, lost, 0.9).status_code == 409
    assert tell_pilot(other, again, 0.1).status_code == 200
    assert [run["value"] for run in study(http)["start_small"]["runs"]] == [0.1]


def test_a_released_small_run_is_made_again(http: TestClient, worker: HandWorker) -> None:
    begin_with_pilots(http, worker)
    assert worker.release(worker.take()).status_code == 204
    assert worker.take()["number"] == 0


def test_asking_again_gives_the_same_small_run(http: TestClient, worker: HandWorker) -> None:
    begin_with_pilots(http, worker)
    first, again = worker.take(), worker.take()
    assert (again["kind"], again["number"], again["attempt"]) == ("small", 0, 1)
    assert tell_pilot(worker, first, 0.5).status_code == 409
    assert tell_pilot(worker, again, 0.5).status_code == 200


def test_telling_twice_is_harmless(http: TestClient, worker: HandWorker) -> None:
    begin_with_pilots(http, worker)
    held = worker.take()
    assert tell_pilot(worker, held, 0.5).json() == {"replayed": False}
    assert tell_pilot(worker, held, 0.5).json() == {"replayed": True}
    assert tell_pilot(worker, held, 0.6).status_code == 409
    assert len(study(http)["start_small"]["runs"]) == 1


def test_a_broken_device_is_tried_once_more(http: TestClient, worker: HandWorker) -> None:
    begin_with_pilots(http, worker)
    assert fail_pilot(worker, worker.take(), "device_error").status_code == 200
    again = worker.take()
    assert (again["number"], again["attempt"]) == (0, 2)
    assert fail_pilot(worker, again, "device_error").status_code == 200
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
    begin_with_pilots(http, worker)
    held = worker.take()
    reply = worker.tell(held, outcome | {"device_seconds": 0.5})
    assert (reply.status_code, reply.json()["code"]) == (409, "outcome-refused")
    assert tell_pilot(worker, held, 0.5).status_code == 200


def test_a_small_run_reports_nothing(http: TestClient, worker: HandWorker) -> None:
    begin_with_pilots(http, worker)
    held = worker.take()
    refused = worker.send_report(held, 1, 0.5)
    assert (refused.status_code, refused.json()["code"]) == (409, "outcome-refused")
    assert http.get("/v1/studies/feedback/trials/0").json()["intermediate_values"] == []
