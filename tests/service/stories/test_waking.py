"""A worker that waits for work gets it as soon as there is some, and costs nothing while there is none."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from service.lifecycle.leases.reap import reap_worker
from service.search.propose.propose import Proposal, ProposalRequest
from service.store.store import Store
from service.work_signal import WorkSignal
from tests.service.hand_worker import HandWorker, spec

STUDY = "/v1/studies/feedback"
SECONDS = 30.0
"""Far more than it takes, and less than a worker waits."""


@pytest.fixture(autouse=True)
def without_the_net(monkeypatch: pytest.MonkeyPatch) -> None:
    """No look that nobody has asked for."""
    monkeypatch.setattr("service.routes.wait_for_work.POLL_SECONDS", 60.0)


@contextmanager
def waiting(worker: HandWorker, work: WorkSignal, monkeypatch: pytest.MonkeyPatch) -> Iterator[Future[Any]]:
    """A worker that has looked, has found nothing, and waits."""
    is_waiting = threading.Event()
    whole = work.wait

    async def noted(mark: int, seconds: float) -> bool:
        is_waiting.set()
        return await whole(mark, seconds)

    monkeypatch.setattr(work, "wait", noted)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(worker.dispatch, wait_seconds=20.0)
        assert is_waiting.wait(SECONDS)
        yield asked


DEEDS: dict[str, Callable[[HandWorker, dict[str, Any], Store], object]] = {
    "its result": lambda worker, held, _: worker.fail(held),
    "it is given back": lambda worker, held, _: worker.release(held),
    "its worker is lost": lambda worker, _held, store: reap_worker(store, worker.worker_id),
    "room for another": lambda worker, _held, _store: worker.http.patch(STUDY, json={"n_parallel": 2}),
    "another study": lambda worker, _held, _store: worker.http.post("/v1/studies", json=spec(name="other")),
    "a study that goes on": lambda worker, _held, _store: worker.http.post("/v1/studies/paused/resume"),
    "a trial of a person": lambda worker, _held, _store: worker.http.post(
        "/v1/studies/done/trials", json={"params": {}}
    ),
}


@pytest.mark.parametrize("deed", DEEDS)
def test_a_waiting_worker_is_woken_by_whatever_makes_work(
    http: TestClient, app: FastAPI, worker: HandWorker, monkeypatch: pytest.MonkeyPatch, deed: str
) -> None:
    store = app.state.parts.store
    http.post("/v1/studies", json=spec(name="done", n_trials=1))
    worker.prepare()
    worker.run_trial(0.5)
    http.post("/v1/studies", json=spec(name="paused"))
    http.post("/v1/studies/paused/pause")
    http.post("/v1/studies", json=spec(n_parallel=1))
    worker.prepare()
    held = worker.take()
    with waiting(HandWorker(http), store.work, monkeypatch) as asked:
        DEEDS[deed](worker, held, store)
        assert len(asked.result(SECONDS)) == 1


def test_a_proposal_in_the_helper_holds_no_thread_and_wakes_its_worker(
    http: TestClient, app: FastAPI, worker: HandWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    proposer, go_on = app.state.parts.proposer, threading.Event()
    monkeypatch.setattr("service.lifecycle.leases.propose_next.needs_torch", lambda asked, _: asked.seed == 7)
    whole = proposer.propose

    def slow(request: ProposalRequest) -> Proposal | None:
        assert request.spec.seed != 7 or go_on.wait(SECONDS)
        return whole(request)

    monkeypatch.setattr(proposer, "propose", slow)
    assert http.post("/v1/studies", json=spec(seed=7)).status_code == 201
    worker.prepare()
    with waiting(worker, app.state.parts.store.work, monkeypatch) as asked:
        assert http.post("/v1/studies", json=spec(name="other", seed=8)).status_code == 201
        # the worker that waits for a slow proposal is woken for the work of another study
        [assignment] = asked.result(SECONDS)
        assert (assignment["study"], assignment["kind"]) == ("other", "prepare")
    other = HandWorker(http)
    with waiting(other, app.state.parts.store.work, monkeypatch) as asked:
        go_on.set()
        [assignment] = asked.result(SECONDS)
        assert (assignment["study"], assignment["number"]) == ("feedback", 0)


def test_a_look_that_finds_nothing_writes_nothing(http: TestClient, app: FastAPI, worker: HandWorker) -> None:
    store = app.state.parts.store
    for number in range(3):
        assert http.post("/v1/studies", json=spec(name=f"full-{number}", n_parallel=1)).status_code == 201
        worker.prepare()
        worker.take()
        worker = HandWorker(http)
    n_before = n_writes(store)
    for _ in range(3):
        assert worker.dispatch() == []
    assert n_writes(store) == n_before


def n_writes(store: Any) -> float:
    value: float = store.metrics.registry.get_sample_value("spezia_transaction_seconds_count", {"access": "writing"})
    return value
