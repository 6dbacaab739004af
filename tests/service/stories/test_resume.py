"""A trial that was interrupted goes on where its worker can, and begins anew everywhere else."""

from typing import Any

import optuna
import pytest
from fastapi.testclient import TestClient

from tests.service.hand_worker import HandWorker, spec
from tests.stock import stock_storage

Checkpoint = dict[str, Any]


@pytest.fixture
def held(http: TestClient, worker: HandWorker) -> dict[str, Any]:
    """A trial that ``worker`` has reported twice."""
    assert http.post("/v1/studies", json=spec()).status_code == 201
    worker.prepare()
    held = worker.take()
    worker.report(held, 1, 0.5)
    worker.report(held, 2, 0.4)
    return held


def checkpoint(held: dict[str, Any], step: int, **changes: Any) -> Checkpoint:
    mine = {"study_id": held["study_id"], "number": held["number"], "attempt": held["attempt"], "step": step}
    return mine | changes


def ask(worker: HandWorker, *checkpoints: Checkpoint) -> dict[str, Any]:
    path = f"/v1/workers/{worker.worker_id}/dispatch"
    reply = worker.http.post(path, json={"checkpoints": list(checkpoints)})
    assert reply.status_code == 200, reply.text
    assignment: dict[str, Any] = reply.json()["assignments"][0]
    return assignment


def trial(http: TestClient, number: int = 0) -> dict[str, Any]:
    detail: dict[str, Any] = http.get(f"/v1/studies/feedback/trials/{number}").json()
    return detail


def values(http: TestClient, number: int = 0) -> dict[int, float]:
    return {row["step"]: row["value"] for row in trial(http, number)["intermediate_values"]}


def optunas_values(url: str) -> dict[int, float]:
    with stock_storage(url) as storage:
        seen: dict[int, float] = optuna.load_study(study_name="feedback", storage=storage).trials[0].intermediate_values
    return seen


def test_new_attempt_keeps_what_was_reported_up_to_its_checkpoint(
    http: TestClient, held: dict[str, Any], worker: HandWorker, database_url: str
) -> None:
    worker.release(held)
    again = ask(HandWorker(http), checkpoint(held, 1))
    assert (again["number"], again["attempt"], again["resume"]) == (0, 2, {"attempt": 1, "step": 1, "sent": None})
    assert values(http) == optunas_values(database_url) == {1: 0.5}
    other = HandWorker(http)
    other.report(again, 2, 0.35)
    other.report(again, 3, 0.3, final=True)
    assert other.finish(again).status_code == 200
    assert values(http) == {1: 0.5, 2: 0.35, 3: 0.3}
    assert [attempt["resumed_from"] for attempt in trial(http)["attempts"]] == [0, 1]
    assert trial(http)["value"] == 0.3


def test_worker_without_the_files_begins_anew(http: TestClient, held: dict[str, Any], worker: HandWorker) -> None:
    worker.release(held)
    again = ask(HandWorker(http))
    assert (again["attempt"], again["resume"]) == (2, None)
    assert values(http) == {}


@pytest.mark.parametrize(
    "changes",
    [
        {"step": 3},  # an evaluation whose report never arrived
        {"attempt": 2},  # an attempt that never was
        {"study_id": "0" * 32},
        {"number": 1},
    ],
)
def test_checkpoint_that_does_not_fit_the_reports_is_not_used(
    http: TestClient, held: dict[str, Any], worker: HandWorker, changes: dict[str, Any]
) -> None:
    worker.release(held)
    assert (
        ask(worker, checkpoint(held, 2, **changes) if "step" not in changes else checkpoint(held, 3))["resume"] is None
    )
    assert values(http) == {}


def test_checkpoint_before_the_first_evaluation_is_used(
    http: TestClient, held: dict[str, Any], worker: HandWorker
) -> None:
    worker.release(held)
    assert ask(worker, checkpoint(held, 0))["resume"] == {"attempt": 1, "step": 0, "sent": None}
    assert values(http) == {}


def test_worker_gets_the_waiting_trial_that_it_can_go_on_with(
    http: TestClient, held: dict[str, Any], worker: HandWorker
) -> None:
    other = HandWorker(http)
    second = other.take()
    other.report(second, 1, 0.7)
    worker.release(held)
    other.release(second)
    taken = ask(other, checkpoint(second, 1))
    assert (taken["number"], taken["resume"]) == (1, {"attempt": 1, "step": 1, "sent": None})


def test_a_later_attempt_may_go_on_from_an_earlier_ones_checkpoint(
    http: TestClient, held: dict[str, Any], worker: HandWorker
) -> None:
    worker.release(held)
    other = HandWorker(http)
    second = ask(other)
    other.report(second, 1, 0.9)
    other.release(second)
    third = ask(worker, checkpoint(held, 2))
    assert (third["attempt"], third["resume"]) == (3, {"attempt": 1, "step": 2, "sent": None})
    assert values(http) == {1: 0.5, 2: 0.4}


def test_asking_again_gives_the_same_resume(http: TestClient, held: dict[str, Any], worker: HandWorker) -> None:
    worker.release(held)
    first = ask(worker, checkpoint(held, 2))
    again = ask(worker)
    assert again["lease_id"] == first["lease_id"]
    assert again["resume"] == first["resume"] == {"attempt": 1, "step": 2, "sent": None}


def test_a_lost_checkpoint_costs_no_attempt_and_the_trial_begins_anew(
    http: TestClient, held: dict[str, Any], worker: HandWorker
) -> None:
    worker.release(held)
    again = ask(worker, checkpoint(held, 2))
    assert worker.release(again, "checkpoint_lost").status_code == 204
    assert ask(worker)["resume"] is None
    assert values(http) == {}
    assert trial(http)["attempts"][1]["end"] == "preempted"


def rungs(url: str) -> list[str]:
    with stock_storage(url) as storage:
        attrs = optuna.load_study(study_name="feedback", storage=storage).trials[-1].system_attrs
    return sorted(name for name in attrs if name.startswith("completed_rung_"))


@pytest.mark.parametrize(("step", "kept"), [(2, True), (1, False)])
def test_pruners_memory_is_kept_only_if_the_attempt_goes_on_where_the_last_ended(
    http: TestClient, worker: HandWorker, database_url: str, step: int, kept: bool
) -> None:
    options = {"min_resource": 1, "reduction_factor": 2}
    http.post("/v1/studies", json=spec(pruner={"name": "successive-halving", "options": options}))
    worker.prepare()
    held = worker.take()
    worker.report(held, 1, 0.5)
    worker.report(held, 2, 0.4)
    before = rungs(database_url)
    assert before
    worker.release(held)
    assert ask(worker, checkpoint(held, step))["resume"]["step"] == step
    assert rungs(database_url) == (before if kept else [])
