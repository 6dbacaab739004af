"""A new study from the spec of another one."""

from typing import Any

import pytest
from fastapi.testclient import TestClient

from spezia.contract.problem import Code
from tests.service.hand_worker import spec

CLONE = "/v1/studies/feedback/clone"


@pytest.fixture(autouse=True)
def posted(http: TestClient) -> dict[str, Any]:
    """The study of which clones are made."""
    answer = http.post("/v1/studies", json=spec())
    assert answer.status_code == 201
    study: dict[str, Any] = answer.json()
    return study


def test_a_clone_has_the_spec_as_it_was_posted_and_the_changes(http: TestClient, posted: dict[str, Any]) -> None:
    assert http.patch("/v1/studies/feedback", json={"n_trials": 9}).status_code == 200
    changes = [
        {"field": "search_space.learning_rate.high", "value": 0.01},
        {"field": "search_space.epochs", "value": {"type": "int", "low": 1, "high": 4}},
        {"field": "pruner", "value": None},
    ]
    answer = http.post(CLONE, json={"name": "next", "changes": changes})
    assert (answer.status_code, answer.headers["location"]) == (201, "/v1/studies/next")
    expected = posted["spec"] | {"name": "next"}
    expected["search_space"]["learning_rate"]["high"] = 0.01
    made = answer.json()["spec"]
    assert made["search_space"].pop("epochs")["high"] == 4
    assert made == expected
    assert http.get("/v1/studies/feedback").json()["n_finished"] == 0


def test_a_clone_without_a_name_gets_one(http: TestClient) -> None:
    made = http.post(CLONE, json={}).json()
    assert made["name"] == made["spec"]["name"] != "feedback"


def test_a_clone_is_made_once(http: TestClient) -> None:
    body = {"name": "next", "changes": [{"field": "n_trials", "value": 4}]}
    assert [http.post(CLONE, json=body).status_code for _ in range(2)] == [201, 200]
    made = [http.post(CLONE, json={}, headers={"Idempotency-Key": "one"}) for _ in range(2)]
    assert made[0].json()["name"] == made[1].json()["name"]
    assert made[1].headers["Idempotency-Replayed"] == "true"
    other = http.post(CLONE, json={"name": "next"})
    assert (other.status_code, other.json()["code"]) == (409, Code.STUDY_EXISTS)


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("search_space.learning_rate.high", 1e-9, "search_space.learning_rate"),
        ("search_space.learning_rat.high", 0.1, "changes"),
        ("n_trials.x", 1, "changes"),
        ("task.x", None, "changes"),
        ("n_trails", 4, "n_trails"),
        ("sampler", {"name": "grid"}, "search_space.learning_rate"),
        ("task", None, "task"),
    ],
)
def test_a_change_that_cannot_be_made_is_named_and_nothing_is_created(
    http: TestClient, field: str, value: Any, named: str
) -> None:
    answer = http.post(CLONE, json={"name": "next", "changes": [{"field": field, "value": value}]})
    assert (answer.status_code, answer.json()["code"]) == (422, Code.INVALID), answer.text
    errors = answer.json()["errors"]
    assert any(error["field"].startswith(named) for error in errors), errors
    if named == "changes":
        assert field in errors[0]["message"]
    assert http.get("/v1/studies/next").status_code == 404


def test_a_clone_has_the_limits_of_what_is_posted(http: TestClient) -> None:
    changes = [{"field": "n_trials", "value": 2000}, {"field": "enqueue", "value": [{}] * 1001}]
    answer = http.post(CLONE, json={"name": "next", "changes": changes})
    assert answer.status_code == 422, answer.text
    assert "more than 1000" in answer.json()["errors"][0]["message"]
