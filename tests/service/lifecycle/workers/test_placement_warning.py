"""The warning of studies that wait for workers."""

from fastapi import FastAPI
from fastapi.testclient import TestClient

from service.lifecycle.workers.launched_workers import launch_worker, list_launched
from service.lifecycle.workers.placement_warning import find_warned, warn_waiting
from tests.service.hand_worker import HandWorker, spec


def test_studies_that_wait_say_why_and_no_others(app: FastAPI, http: TestClient) -> None:
    store = app.state.parts.store
    http.post("/v1/studies", json=spec(name="runs", n_trials=1))
    HandWorker(http).prepare()
    launch_worker(store, "a" * 32, "here")
    HandWorker(http, worker_id="a" * 32).take()
    assert [worker.is_busy for worker in list_launched(store, "here")] == [True]
    http.post("/v1/studies", json=spec(name="waits", n_trials=1))
    HandWorker(http).prepare()

    def shown() -> dict[str, list[str]]:
        return {study["name"]: study["warnings"] for study in http.get("/v1/studies").json()["studies"]}

    before = shown()
    warned = warn_waiting(store, "no place", [])
    assert shown() == {**before, "waits": [*before["waits"], "waiting for workers: no place"]}
    warned = warn_waiting(store, "no answer", warned)
    assert shown() == {**before, "waits": [*before["waits"], "waiting for workers: no answer"]}
    assert find_warned(store) == warned
    HandWorker(http).take()
    assert warn_waiting(store, "no answer", warned) == frozenset()
    assert shown() == before
    assert find_warned(store) == frozenset()
