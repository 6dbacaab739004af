"""Which work a worker gets."""

from typing import Any

import pytest
from fastapi.testclient import TestClient

from service.lifecycle.leases import dispatch
from tests.service.hand_worker import FACTS, HandWorker, spec


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


def test_a_study_that_never_comes_to_rest_holds_up_no_dispatch(
    http: TestClient, worker: HandWorker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    http.post("/v1/studies", json=spec(n_trials=2))
    worker.prepare()
    held = worker.take()
    monkeypatch.setattr(dispatch, "_grant_next", lambda *_: "again")
    assert HandWorker(http).dispatch() == []
    (complaint,) = [record.message for record in caplog.records if record.levelname == "ERROR"]
    assert complaint.startswith("gave out nothing of study feedback, looked at 20 times in a row: running, waiting=0 ")
    assert complaint.endswith(" of 2 trials, next: new trial")
    worker.report(held, 1, 0.5, final=True)
    assert worker.finish(held).status_code == 200


def test_an_unknown_worker_is_told_to_register(http: TestClient) -> None:
    answer = http.post(f"/v1/workers/{'0' * 32}/dispatch", json={})
    assert (answer.status_code, answer.json()["code"]) == (404, "worker-unknown")


def test_an_old_worker_is_told_to_upgrade(http: TestClient) -> None:
    device = {"kind": "cpu", "name": "x", "memory_bytes": 0, "bf16": False}
    registration = {"worker_id": "a" * 32, "host": "h", "device": device, "versions": {}, "protocol": 0}
    answer = http.post("/v1/workers", json=registration)
    assert (answer.status_code, answer.json()["code"]) == (426, "protocol-too-old")


EPOCHS = {"epochs": {"type": "int", "low": 1, "high": 9}}


def test_the_longest_of_the_last_trials_begins_first(http: TestClient, worker: HandWorker) -> None:
    enqueue = [{"epochs": epochs} for epochs in (1, 3, 2, 3)]
    http.post("/v1/studies", json=spec(search_space=EPOCHS, enqueue=enqueue, n_trials=4))
    worker.prepare()
    assert [(held["number"], held["params"]["epochs"]) for held in worker.dispatch(slots=9)] == [
        (1, 3),
        (3, 3),
        (2, 2),
        (0, 1),
    ]


@pytest.mark.parametrize(
    "watching",
    [
        {"n_trials": 4},
        {"pruner": {"name": "median"}},
        {"timeout_seconds": 100},
        {"device_seconds": 100},
        {"target_value": 0.1},
    ],
    ids=["sampler", "pruner", "timeout", "budget", "target"],
)
def test_trials_begin_in_their_order_where_that_decides_more_than_the_end(
    http: TestClient, worker: HandWorker, watching: dict[str, Any]
) -> None:
    enqueue = [{"epochs": epochs} for epochs in (1, 3, 2)]
    http.post("/v1/studies", json=spec(search_space=EPOCHS, enqueue=enqueue) | watching)
    worker.prepare()
    assert worker.take()["number"] == 0
