"""What is refused when a study is posted, with field and reason; and that nothing of it is stored."""

import json
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.service.hand_worker import HandWorker, spec

RATE = {"type": "float", "low": 1e-5, "high": 1e-3}

REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"n_trails": 3}, "n_trails", "did you mean 'n_trials'"),
    ({"data": {"train": "a.csv", "colums": {}}}, "data.colums", "did you mean 'columns'"),
    ({"task": "text-clasification"}, "task", "text-classification"),
    ({"name": "Not A Name"}, "name", "pattern"),
    ({"search_space": {}}, "search_space", "at least 1"),
    ({"search_space": {"learning_rat": RATE}}, "search_space.learning_rat", "did you mean 'learning_rate'"),
    ({"search_space": {"learning_rate": RATE | {"low": 1.0}}}, "search_space.learning_rate.low", "above high"),
    (
        {"search_space": {"learning_rate": RATE | {"low": 0.0, "log": True}}},
        "search_space.learning_rate.low",
        "above 0",
    ),
    ({"search_space": {"learning_rate": RATE | {"step": 3e-4}}}, "search_space.learning_rate.step", "does not divide"),
    ({"search_space": {"learning_rate": RATE | {"step": 5e-324}}}, "search_space.learning_rate.step", "drop step"),
    (
        {"search_space": {"learning_rate": RATE | {"step": 1e-5, "log": True}}},
        "search_space.learning_rate.step",
        "takes no step",
    ),
    (
        {"search_space": {"epochs": {"type": "int", "low": 1, "high": 4, "step": 2}}},
        "search_space.epochs.step",
        "does not divide",
    ),
    ({"search_space": {"epochs": {"type": "float", "low": 1, "high": 4}}}, "search_space.epochs", "whole number"),
    (
        {"search_space": {"dropout": {"type": "float", "low": 0, "high": 1}}},
        "search_space.dropout.high",
        "from 0 to 1, 1 excluded",
    ),
    (
        {"search_space": {"batch_size": {"type": "categorical", "choices": [8, "16"]}}},
        "search_space.batch_size.choices",
        "mix",
    ),
    (
        {"search_space": {"batch_size": {"type": "categorical", "choices": [8, 8]}}},
        "search_space.batch_size.choices",
        "twice",
    ),
    (
        {"search_space": {"lr_schedule": {"type": "categorical", "choices": ["linear", "warp"]}}},
        "search_space.lr_schedule.choices.1",
        "one of",
    ),
    (
        {"search_space": {"learning_rate": {"type": "flaot", "low": 0, "high": 1}}},
        "search_space.learning_rate",
        "float",
    ),
    ({"sampler": {"name": "grid"}}, "search_space.learning_rate.step", "grid"),
    ({"sampler": {"name": "tpee"}}, "sampler", "tpe"),
    ({"sampler": {"name": "tpe", "options": {"n_startup": 1}}}, "sampler.options.n_startup", "n_startup_trials"),
    ({"pruner": {"name": "threshold", "options": {}}}, "pruner.options.lower", "give lower"),
    ({"fixed": {"learning_rate": 0.1}}, "fixed.learning_rate", "also in search_space"),
    ({"fixed": {"epochs": 0}}, "fixed.epochs", "must be a whole number from 1 to 1000"),
    ({"enqueue": [{"learning_rate": 1.0}]}, "enqueue.0.learning_rate", "must be a number from 1e-05 to 0.001"),
    ({"enqueue": [{"epochs": 1}]}, "enqueue.0.epochs", "not in search_space"),
    ({"enqueue": [{}, {}, {}], "baseline": True}, "enqueue", "raise n_trials"),
    ({"n_trials": 0}, "n_trials", "greater than or equal to 1"),
    ({"n_trials": "3"}, "n_trials", "must be a whole number"),
    ({"objective": {"metric": "accuracy", "direction": "minimize"}}, "objective.direction", "maximize"),
    ({"objective": {"metric": "acuracy"}}, "objective.metric", "accuracy"),
    ({"seed": -1}, "seed", "greater than or equal to 0"),
    ({"training": {"evaluations_per_epoch": 0}}, "training.evaluations_per_epoch", "greater than or equal"),
]


@pytest.mark.parametrize(("changes", "field", "reason"), REFUSED, ids=[field for _, field, _ in REFUSED])
def test_each_rule_names_its_field_and_its_reason(
    refusing: TestClient, changes: dict[str, Any], field: str, reason: str
) -> None:
    answer = refusing.post("/v1/studies", json=spec(**changes))
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["code"] == "invalid"
    assert field in [error["field"] for error in problem["errors"]]
    assert reason in " ".join(error["message"] for error in problem["errors"])
    assert refusing.get("/v1/studies").json()["studies"] == []


def test_all_faults_are_named_at_once(refusing: TestClient) -> None:
    answer = refusing.post("/v1/studies", json=spec(n_trials=0, seed=-1, nonsense=1))
    assert {error["field"] for error in answer.json()["errors"]} == {"n_trials", "seed", "nonsense"}


def test_more_than_64_parameters_are_refused(refusing: TestClient) -> None:
    space = {f"p{index}": RATE for index in range(65)}
    answer = refusing.post("/v1/studies", json=spec(search_space=space))
    assert answer.json()["errors"][0]["field"] == "search_space"


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_number_that_is_none_is_refused(refusing: TestClient, number: str) -> None:
    body = json.dumps(spec(target_value=12345)).replace("12345", number)
    answer = refusing.post("/v1/studies", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "target_value"


def test_a_body_that_is_not_json_is_refused(refusing: TestClient) -> None:
    answer = refusing.post("/v1/studies", content=b'{"name": ', headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")


def test_a_body_over_1_mib_is_refused(http: TestClient) -> None:
    body = json.dumps(spec(name="x" * (1 << 20))).encode()
    json_type = {"Content-Type": "application/json"}
    announced = http.post("/v1/studies", content=body, headers=json_type)
    chunked = http.post("/v1/studies", content=iter([body[:1000], body[1000:]]), headers=json_type)
    for answer in (announced, chunked):
        assert (answer.status_code, answer.json()["code"]) == (413, "too-large")


def test_the_same_study_again_is_the_same_study(http: TestClient, worker: HandWorker) -> None:
    first = http.post("/v1/studies", json=spec())
    again = http.post("/v1/studies", json=spec())
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.headers["location"] == again.headers["location"] == "/v1/studies/feedback"
    worker.take()
    assert HandWorker(http).dispatch() == []


def test_another_study_of_the_same_name_is_refused_naming_what_differs(http: TestClient) -> None:
    http.post("/v1/studies", json=spec())
    answer = http.post("/v1/studies", json=spec(n_trials=5, seed=1))
    assert (answer.status_code, answer.json()["code"]) == (409, "study-exists")
    assert "n_trials, seed" in answer.json()["detail"]


def test_a_study_without_a_name_gets_one(http: TestClient) -> None:
    unnamed = spec()
    del unnamed["name"]
    name = http.post("/v1/studies", json=unnamed).json()["name"]
    assert http.get(f"/v1/studies/{name}").status_code == 200


def test_reading_a_spec_back_gives_what_was_posted(http: TestClient) -> None:
    posted = spec(fixed={"epochs": 2}, enqueue=[{"learning_rate": 1e-4}], n_parallel=2, seed=7)
    stored = http.post("/v1/studies", json=posted).json()["spec"]
    assert {name: stored[name] for name in ("fixed", "enqueue", "n_parallel", "seed", "name")} == {
        name: posted[name] for name in ("fixed", "enqueue", "n_parallel", "seed", "name")
    }
    filled_in = {"step": None, "when": {}}
    assert stored["search_space"]["learning_rate"] == posted["search_space"]["learning_rate"] | filled_in
    assert stored["data"]["max_length"] is None
    assert http.post("/v1/studies", json=stored).status_code == 200


@pytest.mark.parametrize("path", ["/v1/nothing", "/v1/studies/nobody", "/v1/studies/nobody/best"])
def test_what_is_not_there_is_a_problem_document(http: TestClient, path: str) -> None:
    answer = http.get(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"]


def test_a_wrong_method_is_a_problem_document(http: TestClient) -> None:
    answer = http.delete("/v1/studies")
    assert (answer.status_code, answer.json()["code"]) == (405, "method-not-allowed")
    assert answer.headers["allow"] == "GET, POST"
    assert http.put("/v1/studies/feedback").headers["allow"] == "GET, PATCH, DELETE"


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "10.0.0.1:80"])
def test_a_foreign_host_is_refused(http: TestClient, host: str) -> None:
    assert http.get("/healthz", headers={"Host": host}).status_code == 400


@pytest.mark.parametrize("host", ["localhost", "localhost:80", "127.0.0.1:8765", "[::1]", "[::1]:80"])
def test_a_loopback_host_is_served(http: TestClient, host: str) -> None:
    assert http.get("/healthz", headers={"Host": host}).json() == {"status": "ok"}


def test_readiness_checks_the_schema(http: TestClient) -> None:
    assert http.get("/readyz").status_code == 200
