"""Several reports in one request: each is answered by itself, and a few at a time are stored."""

from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from service.failpoints import armed
from service.lifecycle.leases.report import MAX_TOGETHER
from service.store import leases
from service.store.store import Store
from tests.conftest import FakeClock
from tests.service.hand_worker import HandWorker, evaluation, spec
from tests.service.held_trial import trial

Json = dict[str, Any]


def expiry(store: Store, held: Json) -> Any:
    with store.reading() as tx:
        lease = tx.ask(leases.find(held["lease_id"], held["token"]))
    assert lease is not None
    return lease.expires_at


def replies_to(worker: HandWorker, reports: list[Json]) -> list[Json]:
    answer = worker.send_reports(reports)
    assert answer.status_code == 200, answer.text
    replies: list[Json] = answer.json()["replies"]
    assert [(one["lease_id"], one["step"]) for one in replies] == [(one["lease_id"], one["step"]) for one in reports]
    return replies


def test_each_report_of_a_request_is_answered_by_itself(held: Json, worker: HandWorker, http: TestClient) -> None:
    other = HandWorker(http).take()
    gone = held | {"token": "0" * 32}
    replies = replies_to(
        worker,
        [
            evaluation(other, 1, 0.7),
            evaluation(held, 1, 0.1),
            evaluation(held, 2, 0.4),
            evaluation(gone, 3, 0.4),
            evaluation(other, 2, 0.6),
        ],
    )
    assert [one["directive"] for one in replies] == ["continue", "continue", "continue", "lost", "continue"]
    refusals = [one["refusal"] for one in replies]
    assert [one and (one["status"], one["code"]) for one in refusals] == [
        None,
        (409, "report-conflict"),
        None,
        None,
        None,
    ]
    assert "step 1 was reported before with the value 0.5" in refusals[1]["detail"]
    assert [one["value"] for one in trial(http)["intermediate_values"]] == [0.5, 0.4]
    assert [one["value"] for one in trial(http, other["number"])["intermediate_values"]] == [0.7, 0.6]


def test_a_report_that_lacks_a_metric_hides_no_other(http: TestClient, worker: HandWorker) -> None:
    objectives = [{"metric": "accuracy"}, {"metric": "validation_loss"}]
    http.post("/v1/studies", json=spec(objective=objectives, pruner={"name": "none"}))
    worker.prepare()
    held = worker.take()
    replies = replies_to(
        worker,
        [
            evaluation(held, 1, 0.9, accuracy=0.9),
            evaluation(held, 2, 0.9) | {"metrics": {"accuracy": 0.9}},
            evaluation(held, 3, 0.9, accuracy=0.9),
        ],
    )
    assert [one["refusal"] and one["refusal"]["code"] for one in replies] == [None, "outcome-refused", None]
    assert "validation_loss" in replies[1]["refusal"]["detail"]


def test_a_request_of_which_all_is_refused_is_refused_as_its_first_report(
    app: FastAPI, held: Json, worker: HandWorker, http: TestClient, clock: FakeClock
) -> None:
    store: Store = app.state.parts.store
    before = expiry(store, held)
    clock.advance(10)
    refused = worker.send_reports([evaluation(held, 1, value) for value in (0.1, 0.2)])
    assert (refused.status_code, refused.json()["code"]) == (409, "report-conflict")
    assert "0.1 is refused" in refused.json()["detail"]
    assert expiry(store, held) == before, "what is refused has no effect"
    assert worker.send_reports([evaluation(held, 1, 0.1), evaluation(held, 2, 0.2)]).status_code == 200
    assert expiry(store, held) > before


def test_many_reports_share_no_long_transaction_and_are_stored_once(
    held: Json, worker: HandWorker, http: TestClient
) -> None:
    reports = [evaluation(held, step, 1 / step) for step in range(2, 2 * MAX_TOGETHER + 10)]
    commits: list[int] = []

    def fail_at_the_second() -> None:
        commits.append(len(trial(http)["intermediate_values"]))
        if len(commits) == 2:
            raise ConnectionError("the service dies")

    with armed("report.after_commit", fail_at_the_second), pytest.raises(ConnectionError):
        worker.send_reports(reports)
    assert commits == [1 + MAX_TOGETHER, 1 + 2 * MAX_TOGETHER]
    replies = replies_to(worker, reports)
    assert replies_to(worker, reports) == replies
    assert [one["value"] for one in trial(http)["intermediate_values"]] == [0.5, *(one["value"] for one in reports)]
