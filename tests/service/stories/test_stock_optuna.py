"""Stock Optuna adds, enqueues, begins and ends trials beside a service: no study stops or is shown wrong."""

from collections.abc import Callable, Iterator
from typing import Any

import optuna
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState, create_trial
from sqlalchemy import Engine

from service.lifecycle.leases.reap_all import reap_all
from service.store import studies
from service.store.store import Store
from tests.conftest import FakeClock
from tests.service.hand_worker import HandWorker, spec
from tests.service.recounted import recounted, shown
from tests.stock import stock_storage

STUDY = "/v1/studies/feedback"
RATE = {"learning_rate": FloatDistribution(1e-5, 1e-3, log=True)}


@pytest.fixture
def stock(http: TestClient, worker: HandWorker, database_url: str) -> Iterator[optuna.Study]:
    """Stock Optuna's view of a prepared study of three trials, of which one has completed."""
    assert http.post("/v1/studies", json=spec()).status_code == 201
    worker.prepare()
    worker.run_trial(0.5)
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with stock_storage(database_url) as storage:
        yield optuna.load_study(study_name="feedback", storage=storage)
    optuna.logging.set_verbosity(before)


def _round(app: FastAPI) -> None:
    reap_all(app.state.parts.store)


def _add(stock: optuna.Study, **trial: Any) -> None:
    stock.add_trial(create_trial(**trial))


WRITES: dict[str, Callable[[optuna.Study], object]] = {
    "a complete trial": lambda stock: _add(stock, params={"learning_rate": 1e-4}, distributions=RATE, value=0.1),
    "three complete trials": lambda stock: [_add(stock, value=0.1) for _ in range(3)],
    "three failed trials": lambda stock: [_add(stock, state=TrialState.FAIL) for _ in range(3)],
    "a trial of an infinite value": lambda stock: _add(stock, value=float("inf")),
    "a trial of other params": lambda stock: _add(
        stock,
        params={"lr": None, "x": float("inf")},
        distributions={
            "lr": CategoricalDistribution([None, "a"]),
            "x": CategoricalDistribution([float("inf"), 1]),
        },
        value=0.1,
    ),
    "asked and told": lambda stock: stock.tell(stock.ask(), 0.05),
    "asked and never told": lambda stock: stock.ask(),
    "enqueued": lambda stock: stock.enqueue_trial({"learning_rate": 5e-4}),
    "enqueued as if it were paused": lambda stock: stock.enqueue_trial(
        {"learning_rate": 5e-4}, user_attrs={"spezia:paused": {"rung": 0}}
    ),
    "enqueued out of its range": lambda stock: stock.enqueue_trial({"learning_rate": 5.0}),
    "enqueued as no number": lambda stock: stock.enqueue_trial({"learning_rate": [1e-4], "other": None}),
    "waiting with other params": lambda stock: _add(
        stock, state=TrialState.WAITING, params={"lr": None}, distributions={"lr": CategoricalDistribution([None])}
    ),
    "waiting with wishes that are none": lambda stock: _add(
        stock, state=TrialState.WAITING, system_attrs={"fixed_params": [1]}
    ),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=list(WRITES))
def test_a_study_goes_on_to_its_end_and_is_shown_as_it_is(
    http: TestClient,
    app: FastAPI,
    worker: HandWorker,
    stock: optuna.Study,
    engine: Engine,
    clock: FakeClock,
    write: Callable[[optuna.Study], object],
) -> None:
    write(stock)
    for _ in range(4):
        _round(app)
        with Store(engine, clock).reading() as tx:
            study = studies.find(tx, "feedback")
            assert shown(tx, study) == recounted(tx, study)
        for path in ("", "/trials", "/trials.csv", "/best", "/trials/1"):
            assert http.get(f"{STUDY}{path}").status_code in (200, 404)
        for held in worker.dispatch():
            worker.report(held, 1, 0.3, final=True)
            assert worker.finish(held).status_code == 200
    assert http.get(STUDY).json()["state"] == "complete"


def test_an_enqueued_trial_runs_with_the_params_that_were_wished(
    http: TestClient, worker: HandWorker, stock: optuna.Study
) -> None:
    stock.enqueue_trial({"learning_rate": 5e-4})
    held = worker.take()
    assert held["params"] == {"learning_rate": 5e-4}
    assert http.get(f"{STUDY}/trials/{held['number']}").json()["params"] == {"learning_rate": 5e-4}


def test_a_wish_outside_the_space_ends_with_the_reason(
    http: TestClient, worker: HandWorker, stock: optuna.Study
) -> None:
    stock.enqueue_trial({"learning_rate": 5.0})
    assert worker.take()["number"] == 2
    refused = http.get(f"{STUDY}/trials/1").json()
    assert refused["state"] == "FAIL"
    assert refused["failure"]["message"] == (
        "this trial was enqueued outside Spezia and cannot run: learning_rate must be a number from 1e-05 to 0.001"
    )


def test_an_enqueued_trial_of_conditions_is_filled_in(http: TestClient, worker: HandWorker, database_url: str) -> None:
    space = {
        "method": {"type": "categorical", "choices": ["full", "lora"]},
        "lora_rank": {"type": "int", "low": 2, "high": 8, "when": {"method": "lora"}},
    }
    assert http.post("/v1/studies", json=spec(search_space=space)).status_code == 201
    worker.prepare()
    with stock_storage(database_url) as storage:
        optuna.load_study(study_name="feedback", storage=storage).enqueue_trial({"method": "lora"})
    params = worker.take()["params"]
    assert params["method"] == "lora"
    assert 2 <= params["lora_rank"] <= 8


@pytest.mark.parametrize("state", [TrialState.COMPLETE, TrialState.FAIL, TrialState.PRUNED])
def test_a_trial_that_is_ended_under_its_worker_is_lost_to_it(
    http: TestClient, app: FastAPI, worker: HandWorker, stock: optuna.Study, state: TrialState
) -> None:
    held = worker.take()
    worker.report(held, 1, 0.4)
    stock.tell(held["number"], 0.01 if state is TrialState.COMPLETE else None, state=state)
    assert worker.report(held, 2, 0.3, final=True)["directive"] == "lost"
    told = worker.finish(held)
    assert (told.status_code, told.json()["code"]) == (409, "lease-lost")
    _round(app)
    assert worker.heartbeat(held) == "lost"
    ended = http.get(f"{STUDY}/trials/{held['number']}").json()
    assert (ended["state"], ended["attempts"][0]["end"]) == (state.name, "lost")
    assert worker.take()["number"] == held["number"] + 1


def test_a_worker_may_give_back_a_trial_that_was_ended_under_it(
    http: TestClient, worker: HandWorker, stock: optuna.Study
) -> None:
    held = worker.take()
    stock.tell(held["number"], state=TrialState.FAIL)
    assert worker.release(held).status_code == 204
    assert http.get(f"{STUDY}/trials/{held['number']}").json()["state"] == "FAIL"


def test_the_best_may_be_a_trial_without_evaluations(http: TestClient, stock: optuna.Study) -> None:
    _add(stock, params={"learning_rate": 1e-4}, distributions=RATE, value=0.1)
    best = http.get(f"{STUDY}/best").json()
    assert (best["number"], best["value"], best["step"], best["metrics"]) == (1, 0.1, 0, {"validation_loss": 0.1})
