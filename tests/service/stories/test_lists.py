"""Lists: filters and orders, and pages that stay whole."""

from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.conftest import FakeClock
from tests.service.hand_worker import HandWorker, spec


def listed(http: TestClient, path: str, field: str, key: str, **query: Any) -> list[Any]:
    """All entries' ``key``, two a page."""
    seen, token = [], None
    while True:
        asked = {"limit": 2} | query | ({"page_token": token} if token else {})
        answer = http.get(path, params=asked)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        seen += [one[key] for one in page[field]]
        token = page["next_page_token"]
        if token is None:
            return seen


@pytest.fixture
def studies(http: TestClient, clock: FakeClock) -> list[str]:
    """Five studies, the second and third made at one instant; in the order in which they were made."""
    names = ["b-1", "b_2", "a-3", "b.4", "c"]
    for name in names:
        assert http.post("/v1/studies", json=spec(name=name)).status_code == 201
        clock.advance(0 if name == "b_2" else 0.000001)
    http.post("/v1/studies/b-1/pause")
    http.post("/v1/studies/c/cancel")
    return names


def test_studies_are_listed_by_name_and_by_age_both_ways(http: TestClient, studies: list[str]) -> None:
    def names(**query: Any) -> list[str]:
        return listed(http, "/v1/studies", "studies", "name", **query)

    by_name = names()
    assert set(by_name) == set(studies)
    assert names(order_by="-name") == by_name[::-1]
    assert names(order_by="created_at") == studies
    assert names(order_by="-created_at") == studies[::-1]
    assert names(state=["paused", "cancelled"], order_by="created_at") == ["b-1", "c"]
    assert names(name_contains="b", order_by="created_at") == ["b-1", "b_2", "b.4"]
    assert names(name_contains="b_") == ["b_2"]
    assert names(name_contains="_2") == ["b_2"]
    assert names(name_contains="b", state="running", order_by="-created_at") == ["b.4", "b_2"]


def test_studies_are_listed_by_task(http: TestClient, studies: list[str], clock: FakeClock) -> None:
    regressions = ["b-5", "d-6", "a-7"]
    for name in regressions:
        assert http.post("/v1/studies", json=spec(name=name, task="text-regression")).status_code == 201
        clock.advance(1)

    def names(**query: Any) -> list[str]:
        return listed(http, "/v1/studies", "studies", "name", **query)

    assert names(task="text-regression", order_by="created_at") == regressions
    assert names(task="text-regression", order_by="-created_at") == regressions[::-1]
    assert names(task=["text-classification", "text-regression"]) == names()
    assert names(task="text-classification", state=["paused", "running"], order_by="created_at") == studies[:-1]
    assert names(task="causal-lm") == []
    assert http.get("/v1/studies", params={"task": "poetry"}).status_code == 422


def test_a_study_made_between_two_pages_shifts_nobody(http: TestClient, studies: list[str]) -> None:
    query = {"order_by": "-created_at", "limit": "3"}
    first = http.get("/v1/studies", params=query).json()
    http.post("/v1/studies", json=spec(name="newest"))
    rest = http.get("/v1/studies", params=query | {"page_token": first["next_page_token"]}).json()
    assert [one["name"] for one in first["studies"] + rest["studies"]] == studies[::-1]


@pytest.mark.parametrize(
    "token",
    [
        "x",
        "WyJuYW1lIiwgIlx1ZDgwMCIsIDFd",  # a name that is no text
        "WyJuYW1lIiwgImEiLCA5OTk5OTk5OTk5OTldCg",  # an id that is none
        "WyItbmFtZSIsICJhIiwgMV0",  # of another order
    ],
)
def test_a_page_token_that_no_page_gave_is_refused(http: TestClient, token: str) -> None:
    answer = http.get("/v1/studies", params={"page_token": token})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "page_token")


def test_trials_are_listed_both_ways_and_by_several_states(http: TestClient, worker: HandWorker) -> None:
    http.post("/v1/studies", json=spec(n_trials=6))
    worker.prepare()
    for value in (0.5, 0.3, 0.3):
        worker.run_trial(value)
    worker.fail(worker.take())
    worker.run_trial(0.9)
    worker.take()

    def numbers(**query: Any) -> list[int]:
        return listed(http, "/v1/studies/feedback/trials", "trials", "number", **query)

    assert numbers() == [0, 1, 2, 3, 4, 5]
    assert numbers(order_by="-number") == [5, 4, 3, 2, 1, 0]
    assert numbers(order_by="value") == [1, 2, 0, 4, 3, 5]
    assert numbers(order_by="-value") == [4, 0, 1, 2, 3, 5]
    assert numbers(state=["FAIL", "RUNNING"]) == [3, 5]
    assert numbers(state="COMPLETE", order_by="-number") == [4, 2, 1, 0]


def test_trials_are_listed_by_state_as_optuna_orders_them(http: TestClient, worker: HandWorker) -> None:
    pruner = {"name": "median", "options": {"n_startup_trials": 1, "n_warmup_steps": 0}}
    http.post("/v1/studies", json=spec(n_trials=6, pruner=pruner))
    worker.prepare()
    http.post("/v1/studies/feedback/trials", json={"params": {"learning_rate": 1e-4}})
    worker.fail(worker.take())
    worker.run_trial(0.5, 0.4)
    worker.run_trial(0.9, 0.8)
    worker.run_trial(0.3, 0.2)
    worker.take()
    http.post("/v1/studies/feedback/trials", json={"params": {"learning_rate": 1e-3}})

    def trials(field: str, **query: Any) -> list[Any]:
        return listed(http, "/v1/studies/feedback/trials", "trials", field, **query)

    assert trials("state", order_by="state") == ["RUNNING", "COMPLETE", "COMPLETE", "PRUNED", "FAIL", "WAITING"]
    assert trials("number", order_by="state") == [4, 1, 3, 2, 0, 5]
    assert trials("number", order_by="-state") == [5, 0, 2, 1, 3, 4]


def test_trials_are_listed_by_duration_start_and_each_param_those_without_last(
    http: TestClient, worker: HandWorker, clock: FakeClock
) -> None:
    space = {
        "learning_rate": {"type": "float", "low": 1e-5, "high": 1e-1},
        "lr_schedule": {"type": "categorical", "choices": ["linear", "cosine", "constant"]},
        "warmup_ratio": {"type": "float", "low": 0.0, "high": 0.5, "when": {"lr_schedule": "linear"}},
    }
    enqueue = [
        {"learning_rate": 0.03, "lr_schedule": "constant"},
        {"learning_rate": 0.01, "lr_schedule": "linear", "warmup_ratio": 0.2},
        {"learning_rate": 0.02, "lr_schedule": "cosine"},
        {"learning_rate": 0.01, "lr_schedule": "linear", "warmup_ratio": 0.1},
    ]
    http.post("/v1/studies", json=spec(n_trials=4, search_space=space, enqueue=enqueue, baseline=False))
    worker.prepare()
    for seconds in (3, 1, 2):
        held = worker.take()
        worker.report(held, 1, 0.5, final=True)
        clock.advance(seconds)
        worker.finish(held)
    worker.take()

    def numbers(order_by: str) -> list[int]:
        return listed(http, "/v1/studies/feedback/trials", "trials", "number", order_by=order_by)

    assert numbers("duration") == [1, 2, 0, 3]
    assert numbers("-duration") == [0, 2, 1, 3]
    assert numbers("-started_at") == [3, 2, 1, 0]
    assert numbers("params.learning_rate") == [1, 3, 2, 0]
    assert numbers("-params.learning_rate") == [0, 2, 1, 3]
    assert numbers("params.lr_schedule") == [1, 3, 2, 0]
    assert numbers("params.warmup_ratio") == [3, 1, 0, 2]
    assert numbers("-params.warmup_ratio") == [1, 3, 0, 2]
    answer = http.get("/v1/studies/feedback/trials", params={"order_by": "params.epochs"})
    assert answer.status_code == 422
    assert "learning_rate, lr_schedule, warmup_ratio" in answer.json()["errors"][0]["message"]
