"""A study that begins with the best trials of finished ones: which run, what is told of it, and what is refused."""

import json
import math
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from service.failpoints import Injected, armed
from tests.service.hand_worker import FACTS, HandWorker, spec
from tests.service.keyed import client_of
from tests.service.rung_worker import RungWorker, rungs_spec
from tests.stock import stock_storage

STUDY = "/v1/studies/new"
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""What is asked of a database is told on both kinds in `tests/service/lifecycle/studies/test_warm_start.py`."""


def tried(worker: HandWorker, name: str, best_rate: float, **changes: Any) -> None:
    """A finished study of three trials, of which the second is the best."""
    rates = [1e-5, best_rate, 1e-3]
    body = spec(name=name, n_trials=3, enqueue=[{"learning_rate": rate} for rate in rates]) | changes
    assert worker.http.post("/v1/studies", json=body).status_code == 201
    worker.prepare()
    for rate in rates:
        worker.run_trial(abs(math.log10(rate / best_rate)) + 0.1)


def begin(http: TestClient, worker: HandWorker, **changes: Any) -> list[dict[str, Any]]:
    """The trials with which a new study begins."""
    answer = http.post("/v1/studies", json=spec(name="new", n_trials=8) | changes)
    assert answer.status_code == 201, answer.text
    worker.prepare()
    return trials(http)


def trials(http: TestClient) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = http.get(f"{STUDY}/trials").json()["trials"]
    return found


def sources(found: list[dict[str, Any]]) -> list[tuple[str, int] | None]:
    return [one["taken_from"] and (one["taken_from"]["study"], one["taken_from"]["number"]) for one in found]


def test_the_best_trials_of_finished_studies_run_after_the_baseline_and_what_is_enqueued(
    http: TestClient, worker: HandWorker
) -> None:
    tried(worker, "low", 3e-5)
    tried(worker, "high", 4e-4)
    found = begin(http, worker, warm_start="auto", baseline=True, enqueue=[{"learning_rate": 2e-4}], n_trials=4)
    assert sources(found)[:2] == [None, None]
    assert sorted(filter(None, sources(found)[2:])) == [("high", 1), ("low", 1)]
    assert {round(one["params"]["learning_rate"], 6) for one in found[2:]} == {3e-5, 4e-4}
    assert [one["baseline"] for one in found] == [True, False, False, False]
    for value in (0.5, 0.4, 0.1, 0.3):
        worker.run_trial(value)
    best = http.get(f"{STUDY}/best").json()
    assert (best["number"], best["taken_from"]) == (2, found[2]["taken_from"])
    told = json.dumps(found[2]["taken_from"], separators=(",", ":"))
    assert f'"taken_from":{told}' in http.get(f"{STUDY}/events").text.replace(": ", ":").replace(", ", ",")


def test_the_first_that_is_taken_begins_before_the_baseline(http: TestClient, worker: HandWorker) -> None:
    tried(worker, "low", 3e-5)
    tried(worker, "high", 4e-4)
    found = begin(http, worker, warm_start="auto", baseline=True)
    assert [one["baseline"] for one in found] == [True, False, False]
    assert [worker.run_trial(0.5)["number"] for _ in range(3)] == [1, 0, 2]


@pytest.mark.slow
def test_the_study_that_is_most_alike_comes_first(http: TestClient, worker: HandWorker) -> None:
    for name, rows, rate in (("far", 100_000, 5e-4), ("near", 200, 2e-5)):
        body = spec(name=name, n_trials=1, enqueue=[{"learning_rate": rate}])
        assert http.post("/v1/studies", json=body).status_code == 201
        worker.prepare(train_rows=rows)
        worker.run_trial(0.1)
    assert sources(begin(http, worker, warm_start="auto", n_trials=1)) == [("near", 0)]


def test_named_studies_alone_are_asked_and_stock_optuna_shows_which(
    http: TestClient, worker: HandWorker, database_url: str
) -> None:
    tried(worker, "one", 3e-5)
    tried(worker, "two", 4e-4)
    assert sources(begin(http, worker, warm_start=["one"])) == [("one", 1)]
    with stock_storage(database_url) as storage:
        (trial,) = storage.get_all_trials(storage.get_study_id_from_name("new"))
    assert trial.user_attrs == {"spezia:taken_from": {"study": "one", "number": 1, "place": 0}}


def test_what_another_study_learns_stays_when_the_first_is_deleted(http: TestClient, worker: HandWorker) -> None:
    tried(worker, "old", 1e-4)
    body = spec(name="new", n_trials=8, warm_start=["old"])
    found = begin(http, worker, warm_start=["old"])
    assert http.delete("/v1/studies/old").status_code == 204
    assert trials(http) == found
    assert http.post("/v1/studies", json=body).status_code == 200  # it has begun: nothing is looked up again
    worker.run_trial(0.2)
    assert http.get(f"{STUDY}/best").json()["taken_from"] == {"study": "old", "number": 1}
    assert http.post("/v1/studies", json=body | {"name": "newer"}).status_code == 422


@pytest.mark.slow
def test_studies_deleted_before_the_facts_are_known_are_missed_by_nobody(http: TestClient, worker: HandWorker) -> None:
    tried(worker, "old", 1e-4)
    assert http.post("/v1/studies", json=spec(name="new", warm_start=["old"])).status_code == 201
    assert http.delete("/v1/studies/old").status_code == 204
    worker.prepare()
    assert trials(http) == []
    assert worker.take()["kind"] == "trial"


def test_there_are_never_more_trials_than_the_study_may_have(http: TestClient, worker: HandWorker) -> None:
    tried(worker, "one", 3e-5)
    tried(worker, "two", 4e-4)
    assert http.post("/v1/studies", json=spec(name="new", warm_start="auto", n_trials=2)).status_code == 201
    held = worker.take()

    def lower() -> None:
        assert http.patch(STUDY, json={"n_trials": 1}).status_code == 200

    with armed("tell.worked_out_ahead", lower):
        assert worker.tell(held, {"kind": "prepare", "facts": FACTS, "device_seconds": 1.0}).status_code == 200
    assert len(trials(http)) == 1


def test_facts_and_trials_are_accepted_together_and_once(app: FastAPI, http: TestClient, worker: HandWorker) -> None:
    tried(worker, "old", 1e-4)
    assert http.post("/v1/studies", json=spec(name="new", warm_start="auto")).status_code == 201
    held, outcome = worker.take(), {"kind": "prepare", "facts": FACTS, "device_seconds": 1.0}

    def die() -> None:
        raise Injected

    patient = TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False)
    with armed("tell.before_commit", die):
        assert HandWorker(patient).tell(held, outcome).status_code == 500
    assert trials(http) == []
    assert [worker.tell(held, outcome).status_code for _ in range(2)] == [200, 200]
    assert sources(trials(http)) == [("old", 1)]


def test_under_rungs_the_first_one_never_pauses(http: TestClient) -> None:
    worker = RungWorker(http)
    tried(worker, "low", 3e-5, fixed={"epochs": 4})
    tried(worker, "high", 4e-4, fixed={"epochs": 4})
    found = begin(http, worker, **rungs_spec(name="new", warm_start="auto"))
    assert None not in sources(found)
    assert len(found) == 2
    # worse than the other one, so that it would pause
    assert worker.work(lambda number, _: 1.0 - number)[:2] == [(0, "complete"), (1, "paused")]


def test_nothing_is_taken_unless_asked_or_where_nothing_can_be(http: TestClient, worker: HandWorker) -> None:
    tried(worker, "old", 1e-4)
    assert begin(http, worker) == []
    assert http.delete(STUDY).status_code == 204
    found = begin(http, worker, warm_start="auto", enqueue=[{"learning_rate": 1e-4}])
    assert sources(found)[0] is None
    assert sources(found)[1] in {("old", 0), ("old", 2)}  # not the best one, which runs anyway
    assert http.delete(STUDY).status_code == 204
    several = [{"metric": "validation_loss"}, {"metric": "accuracy"}]
    assert begin(http, worker, warm_start="auto", objective=several) == []
    validated = http.post("/v1/studies:validate", json=spec(warm_start="auto", objective=several))
    assert validated.json()["warm_start"] is None


REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "unknown": ({"warm_start": ["old", "gone"]}, "warm_start.1", "there is no study 'gone' of yours"),
    "another task": (
        {"warm_start": ["old"], "task": "text-regression"},
        "warm_start.0",
        "study 'old' is of the task text-classification, and this one of text-regression",
    ),
    "another metric": ({"warm_start": ["old"], "objective": {"metric": "accuracy"}}, "warm_start.0", "same metric"),
    "not ended": ({"warm_start": ["running"]}, "warm_start.0", "study 'running' has not ended with a COMPLETE trial"),
    "several objectives": (
        {"warm_start": ["old"], "objective": [{"metric": "validation_loss"}, {"metric": "accuracy"}]},
        "warm_start",
        "this study has several",
    ),
    "a grid": (
        {
            "warm_start": ["old"],
            "sampler": {"name": "grid"},
            "search_space": {"learning_rate": {"type": "categorical", "choices": [1e-4, 1e-5]}},
        },
        "warm_start",
        "a grid tries each of its points anyway",
    ),
    "no word": (
        {"warm_start": "old"},
        "warm_start",
        "choose from auto, none; names of studies stand in a list: ['old']",
    ),
    "no names": ({"warm_start": []}, "warm_start", "1 entries or more"),
}


def test_what_cannot_be_begun_from_is_refused_by_name(http: TestClient, worker: HandWorker) -> None:
    tried(worker, "old", 1e-4)
    assert http.post("/v1/studies", json=spec(name="running")).status_code == 201
    for case, (changes, field, said) in REFUSED.items():
        for path in ("/v1/studies", "/v1/studies:validate"):
            answer = http.post(path, json=spec(name="new") | changes)
            assert answer.status_code == 422, case
            (error,) = answer.json()["errors"]
            assert error["field"].startswith(field), case
            assert said in error["message"], case
    assert http.get(STUDY).status_code == 404


def test_validation_says_with_whose_trials_a_study_would_begin(http: TestClient, worker: HandWorker) -> None:
    def said(**changes: Any) -> str | None:
        answer = http.post("/v1/studies:validate", json=spec(name="new") | changes)
        assert answer.status_code == 200, answer.text
        sentence: str | None = answer.json()["warm_start"]
        return sentence

    assert said() is None
    assert "no finished study of yours" in str(said(warm_start="auto"))
    tried(worker, "old", 1e-4)
    assert "up to 4 of the best trials of old run first" in str(said(warm_start="auto", n_trials=9))
    assert "up to 3 of the best trials of old run first" in str(said(warm_start=["old"], n_trials=4, baseline=True))
    assert str(said(warm_start="auto", n_trials=1, baseline=True)).startswith("n_trials = 1 leaves no room for trials")


def test_other_peoples_studies_are_neither_taken_from_nor_told_of(app: FastAPI) -> None:
    alice, bob = client_of(app, "alice", "write"), client_of(app, "bob", "write")
    worker = HandWorker(client_of(app, "gpu", "worker"))
    assert alice.post("/v1/studies", json=spec(name="hers", n_trials=1)).status_code == 201
    worker.prepare()
    worker.run_trial(0.1)
    admin = client_of(app, "root", "admin")
    for person in (bob, admin):
        refused = person.post("/v1/studies", json=spec(name="new", warm_start=["hers"]))
        assert refused.status_code == 422
        assert refused.json()["errors"][0]["message"].startswith("there is no study 'hers' of yours")
        sentence = person.post("/v1/studies:validate", json=spec(warm_start="auto")).json()["warm_start"]
        assert "no finished study of yours" in sentence
    for name, person, expected in (("his", bob, []), ("next", alice, [("hers", 0)])):
        assert person.post("/v1/studies", json=spec(name=name, warm_start="auto")).status_code == 201
        worker.prepare()
        assert sources(person.get(f"/v1/studies/{name}/trials").json()["trials"]) == expected
        assert person.post(f"/v1/studies/{name}/cancel").status_code == 202
