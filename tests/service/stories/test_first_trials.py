"""Which trials a study begins with, in which order, and that the baseline among them comes to its end."""

from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.service.hand_worker import HandWorker, spec
from tests.service.pilots import run_pilots

SPACE = {
    "learning_rate": {"type": "float", "low": 1e-5, "high": 1e-3, "log": True},
    "dropout": {"type": "float", "low": 0.0, "high": 0.5},
}
GOOD = [{"learning_rate": 5e-4}, {"learning_rate": 4e-4}]
MEDIAN = {"name": "median", "options": {"n_startup_trials": 1}}


def begin(http: TestClient, worker: HandWorker, **changes: Any) -> None:
    """Make a study, and prepare it."""
    body = spec(search_space=SPACE, baseline=True, n_trials=5, pruner=MEDIAN) | changes
    assert http.post("/v1/studies", json=body).status_code == 201
    worker.prepare(checkpoint_dropout=0.25)


def trials(http: TestClient) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = http.get("/v1/studies/feedback/trials").json()["trials"]
    return found


def one_after_the_other(http: TestClient, count: int) -> list[dict[str, Any]]:
    return [HandWorker(http).run_trial(0.5) for _ in range(count)]


def all_at_once(http: TestClient, count: int) -> list[dict[str, Any]]:
    return [HandWorker(http).take() for _ in range(count)]


@pytest.mark.parametrize("taken", [one_after_the_other, all_at_once])
def test_the_baseline_begins_behind_the_first_that_is_enqueued(
    http: TestClient, worker: HandWorker, taken: Callable[[TestClient, int], list[dict[str, Any]]]
) -> None:
    begin(http, worker, enqueue=GOOD)
    begun = taken(http, 4)
    assert [one["number"] for one in begun] == [1, 0, 2, 3]
    assert [one["params"]["learning_rate"] for one in begun[:3]] == [5e-4, 2e-5, 4e-4]
    assert begun[1]["params"] == {"learning_rate": 2e-5, "dropout": 0.25}
    assert 0 <= begun[0]["params"]["dropout"] <= 0.5
    assert [trial["baseline"] for trial in trials(http)] == [True, False, False, False]


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, id="nothing else is known"),
        pytest.param({"start_small": {"trials": 3, "fraction": 0.5}}, id="the others are drawn by chance"),
        pytest.param({"baseline": False, "enqueue": GOOD}, id="there is no baseline"),
    ],
)
def test_else_trials_begin_in_their_order(http: TestClient, worker: HandWorker, changes: dict[str, Any]) -> None:
    begin(http, worker, **changes)
    run_pilots(worker, *[0.5] * changes.get("start_small", {"trials": 0})["trials"])
    assert [one["number"] for one in all_at_once(http, 2)] == [0, 1]


def test_a_first_trial_that_is_tried_again_comes_before_the_baseline(http: TestClient, worker: HandWorker) -> None:
    begin(http, worker, enqueue=GOOD)
    lost = worker.take()
    released = http.post(
        f"/v1/leases/{lost['lease_id']}/release", json={"reason": "preempted"}, headers={"Lease-Token": lost["token"]}
    )
    assert released.status_code == 204, released.text
    assert [one["number"] for one in one_after_the_other(http, 3)] == [1, 0, 2]


def test_no_pruner_ends_the_baseline(http: TestClient, worker: HandWorker) -> None:
    begin(http, worker, enqueue=GOOD)
    values = {1: (0.3, 0.2, 0.1), 0: (0.9, 0.9, 0.9), 2: (0.8, 0.8, 0.8)}
    for number, ran in values.items():
        assert worker.run_trial(*ran)["number"] == number
    assert [one["state"] for one in trials(http)] == ["COMPLETE", "COMPLETE", "PRUNED"]
    assert http.get("/v1/studies/feedback/best").json()["improvement"] == pytest.approx(0.8)
