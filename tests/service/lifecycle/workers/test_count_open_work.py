"""How many workers would find work."""

from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from service.lifecycle.workers.count_open_work import count_open_work
from service.store import parquet_heads
from tests.service.hand_worker import HandWorker, spec


def n_open(app: FastAPI, enough: int = 100) -> int:
    return count_open_work(app.state.parts.store, enough)


def test_there_is_as_much_work_as_is_given_out(app: FastAPI, http: TestClient) -> None:
    assert n_open(app) == 0
    http.post("/v1/studies", json=spec())
    assert n_open(app) == 1, "one prepares"
    HandWorker(http).prepare()
    for left in (3, 2, 1):
        assert n_open(app) == left
        HandWorker(http).take()
    assert n_open(app) == 0


@pytest.mark.parametrize(("changes", "expected"), [({"n_parallel": 2}, 2), ({"n_trials": 500}, 100)])
def test_no_more_are_counted_than_may_run_or_are_asked_for(
    app: FastAPI, http: TestClient, changes: dict[str, Any], expected: int
) -> None:
    http.post("/v1/studies", json=spec(**changes))
    HandWorker(http).prepare()
    assert n_open(app) == expected


def test_a_paused_study_has_no_work_and_others_do(app: FastAPI, http: TestClient) -> None:
    http.post("/v1/studies", json=spec(name="one"))
    HandWorker(http).prepare()
    http.post("/v1/studies/one/pause")
    assert n_open(app) == 0
    http.post("/v1/studies", json=spec(name="other"))
    HandWorker(http).prepare()
    assert n_open(app) == 3
    http.post("/v1/studies/one/resume")
    assert n_open(app) == 6


def test_an_uploaded_file_that_waits_to_be_read_is_work(app: FastAPI) -> None:
    with app.state.parts.store.writing() as tx:
        parquet_heads.ask(tx, "0" * 64)
    assert n_open(app) == 1
