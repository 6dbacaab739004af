"""A trial that loses its worker is tried again, so many times."""

from typing import Any

from fastapi.testclient import TestClient

from service.lease_and_heartbeat_terms import LEASE_SECONDS
from service.store.store import Store
from tests.conftest import FakeClock
from tests.service.hand_worker import HandWorker
from tests.service.held_trial import let_pass, trial


def test_a_new_attempt_is_not_judged_by_what_the_old_one_reported(
    http: TestClient, held: dict[str, Any], worker: HandWorker
) -> None:
    assert worker.release(held).status_code == 204
    assert trial(http)["state"] == "WAITING"
    again = HandWorker(http).take()
    assert (again["number"], again["attempt"]) == (0, 2)
    assert trial(http)["intermediate_values"] == []
    assert worker.http.get("/v1/studies/feedback/trials").json()["trials"][0]["step"] == 0


def test_a_trial_fails_after_three_counted_attempts(
    http: TestClient, held: dict[str, Any], beating_store: Store, clock: FakeClock
) -> None:
    for attempt in (1, 2, 3):
        assert trial(http)["attempts"][-1]["attempt"] == attempt
        let_pass(beating_store, clock, LEASE_SECONDS + 1)
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
