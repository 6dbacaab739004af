"""How close a task is to what the checkpoint has learnt: measured by one worker while others train."""

from typing import Any

import pytest
from fastapi.testclient import TestClient

from service.lease_and_heartbeat_terms import MAX_COUNTED_ATTEMPTS
from service.lifecycle.leases.reap import reap_worker
from service.store.store import Store
from tests.service.hand_worker import HandWorker, spec

FOUND = {"metrics": {"skill": 0.9}, "suggestion": "similar-task", "why": "its features fit"}


@pytest.fixture
def prepared(http: TestClient, worker: HandWorker) -> None:
    http.post("/v1/studies", json=spec())
    worker.prepare(awaits_similarity=True, warnings=["rare classes"])


def study(http: TestClient) -> dict[str, Any]:
    found: dict[str, Any] = http.get("/v1/studies/feedback").json()
    return found


def tell(worker: HandWorker, held: dict[str, Any], **outcome: Any) -> int:
    status: int = worker.tell(held, {"kind": "probe", "device_seconds": 1.0} | outcome).status_code
    return status


@pytest.mark.usefixtures("prepared")
def test_one_worker_measures_it_while_others_train(http: TestClient, worker: HandWorker) -> None:
    probe, trial = worker.take(), HandWorker(http).take()
    assert (probe["kind"], trial["kind"], trial["number"]) == ("probe", "trial", 0)
    assert study(http)["facts"]["awaits_similarity"]
    assert tell(worker, probe, similarity=FOUND) == 200
    facts, warnings = study(http)["facts"], study(http)["warnings"]
    assert (facts["similarity"], facts["awaits_similarity"]) == (FOUND, False)
    assert facts["warnings"] == ["rare classes", "its features fit"]
    assert [one for one in warnings if one in facts["warnings"]] == facts["warnings"]
    assert worker.take()["number"] == 1


@pytest.mark.usefixtures("prepared")
@pytest.mark.parametrize("found", [None, FOUND | {"suggestion": None}], ids=["nothing", "in between"])
def test_what_suggests_nothing_warns_of_nothing(
    http: TestClient, worker: HandWorker, found: dict[str, Any] | None
) -> None:
    assert tell(worker, worker.take(), similarity=found) == 200
    assert study(http)["facts"]["similarity"] == found
    assert study(http)["facts"]["warnings"] == ["rare classes"]


@pytest.mark.usefixtures("prepared")
def test_a_failure_is_a_warning_and_the_study_goes_on(http: TestClient, worker: HandWorker) -> None:
    failure = {"failure_class": "out_of_memory", "message": "it does not fit"}
    probe = worker.take()
    assert tell(worker, probe, similarity=FOUND, failure=failure) == 409
    assert tell(worker, probe, failure=failure) == 200
    assert study(http)["warnings"][-1] == "the similarity of the task was not measured: it does not fit"
    assert not study(http)["facts"]["awaits_similarity"]
    assert worker.take()["kind"] == "trial"


def test_steps_are_timed_though_the_similarity_could_not_be_measured(http: TestClient, worker: HandWorker) -> None:
    http.post("/v1/studies", json=spec())
    worker.prepare(awaits_similarity=True, awaits_step_times=True)
    failure = {"failure_class": "exception", "message": "it broke"}
    assert tell(worker, worker.take(), failure=failure) == 200
    assert study(http)["warnings"][-1] == "the similarity of the task was not measured: it broke"
    probe = worker.take()
    assert (probe["kind"], probe["facts"]["awaits_similarity"], probe["facts"]["awaits_step_times"]) == (
        "probe",
        False,
        True,
    )
    assert tell(worker, probe) == 200
    assert worker.take()["kind"] == "trial"


@pytest.mark.usefixtures("prepared")
def test_another_worker_measures_what_a_dead_one_has_not(http: TestClient, worker: HandWorker, store: Store) -> None:
    for attempt in range(1, MAX_COUNTED_ATTEMPTS + 1):
        other = HandWorker(http)
        probe = other.take()
        assert (probe["kind"], probe["attempt"]) == ("probe", attempt)
        assert reap_worker(store, other.worker_id) == 1
        assert tell(other, probe, similarity=FOUND) == 409
    assert study(http)["facts"]["similarity"] is None
    assert "the similarity of the task was not measured" in study(http)["warnings"][-1]
    assert worker.take()["kind"] == "trial"


@pytest.mark.parametrize("awaited", ["awaits_similarity", "awaits_step_times"])
def test_a_study_waits_for_it_after_its_last_trial(
    http: TestClient, worker: HandWorker, store: Store, awaited: str
) -> None:
    http.post("/v1/studies", json=spec())
    worker.prepare(**{awaited: True})
    first, second = HandWorker(http), HandWorker(http)
    assert first.take()["kind"] == "probe"
    for _ in range(2):
        worker.run_trial(0.5)
    last = worker.take()
    assert reap_worker(store, first.worker_id) == 1
    assert second.take()["kind"] == "probe"  # though the last trial has begun
    worker.report(last, 1, 0.5, final=True)
    assert worker.finish(last).status_code == 200
    assert study(http)["state"] == "running"
    assert reap_worker(store, second.worker_id) == 1
    assert study(http)["state"] == "running"
    assert tell(worker, worker.take()) == 200
    assert (study(http)["state"], study(http)["facts"][awaited]) == ("complete", False)


def test_a_study_that_is_stopped_does_without(http: TestClient, worker: HandWorker) -> None:
    http.post("/v1/studies", json=spec())
    worker.prepare(awaits_similarity=True, awaits_step_times=True)
    assert http.post("/v1/studies/feedback/stop").status_code < 300
    assert worker.dispatch() == []
    assert study(http)["state"] == "complete"
    assert not study(http)["facts"]["awaits_similarity"]
    assert not study(http)["facts"]["awaits_step_times"]


@pytest.mark.usefixtures("prepared")
def test_it_takes_the_place_of_a_trial_where_few_may_run(http: TestClient, worker: HandWorker) -> None:
    assert http.patch("/v1/studies/feedback", json={"n_parallel": 1}).status_code == 200
    probe = worker.take()
    assert HandWorker(http).dispatch() == []
    tell(worker, probe, similarity=FOUND)
    assert HandWorker(http).take()["kind"] == "trial"
