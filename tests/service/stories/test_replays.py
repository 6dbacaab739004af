"""What a worker sends twice, or with a token or an outcome that is not good, changes nothing."""

from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.service.hand_worker import HandWorker
from tests.service.held_trial import trial


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
