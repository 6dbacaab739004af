"""Presets and validation over HTTP: what is shown, what is stored, and what a worker gets of it."""

from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.service.hand_worker import HandWorker, spec

NAME = "encoder-small-data"


def preset_spec(name: str = NAME, **changes: Any) -> dict[str, Any]:
    """A study that leaves its whole space to a preset."""
    own = spec(preset=name, baseline=True, n_trials=20, **changes)
    return own if "search_space" in changes else {key: value for key, value in own.items() if key != "search_space"}


def preset_of(http: TestClient, name: str = NAME) -> dict[str, Any]:
    listed = http.get("/v1/presets").json()["presets"]
    (found,) = [preset for preset in listed if preset["name"] == name]
    preset: dict[str, Any] = found
    return preset


def test_presets_are_listed_with_range_default_and_source(http: TestClient) -> None:
    preset = preset_of(http)
    assert preset["tasks"] == ["text-classification", "text-regression"]
    rate = preset["parameters"]["learning_rate"]
    assert rate["default"] == 2e-5
    assert rate["distribution"]["log"] is True
    assert "BERT" in rate["source"]
    assert preset["parameters"]["batch_size"]["distribution"] is None


def test_presets_can_be_listed_for_one_task(http: TestClient) -> None:
    listed = http.get("/v1/presets", params={"task": "causal-lm"}).json()["presets"]
    assert [preset["name"] for preset in listed] == ["causal-lm-lora", "causal-lm-full"]
    assert http.get("/v1/presets", params={"task": "chess"}).status_code == 422


def test_a_preset_is_the_whole_search_space_of_a_study(http: TestClient) -> None:
    reply = http.post("/v1/studies", json=preset_spec(pruner={"name": "none"}))
    assert reply.status_code == 201, reply.text
    stored = reply.json()["spec"]
    lines = preset_of(http)["parameters"]
    assert stored["preset"] == NAME
    assert stored["search_space"] == {
        name: line["distribution"] for name, line in lines.items() if line["distribution"] is not None
    }
    assert stored["fixed"] == {name: line["default"] for name, line in lines.items() if line["distribution"] is None}


def test_the_same_study_again_is_the_same_study_as_posted_or_as_read_back(http: TestClient) -> None:
    posted = preset_spec(fixed={"epochs": 2})
    stored = http.post("/v1/studies", json=posted).json()["spec"]
    assert http.post("/v1/studies", json=posted).status_code == 200
    assert http.post("/v1/studies", json=stored).status_code == 200
    other = http.post("/v1/studies", json=preset_spec(fixed={"epochs": 3}))
    assert (other.status_code, "fixed" in other.json()["detail"]) == (409, True)


@pytest.mark.parametrize(
    ("changes", "field", "reason"),
    [
        ({"name": "encoder-smal-data"}, "preset", "did you mean 'encoder-small-data'"),
        ({"name": "causal-lm-full"}, "preset", "for text-classification there are"),
        ({"name": NAME, "sampler": {"name": "grid"}}, "search_space.learning_rate.step", "needs a step"),
        ({"name": NAME, "enqueue": [{"batch_size": 8}]}, "enqueue.0.batch_size", "not in search_space"),
        ({"name": NAME, "enqueue": [{"epochs": 99}]}, "enqueue.0.epochs", "must be a whole number from"),
        ({"name": NAME, "fixed": {"random_seed": 1}}, "fixed.random_seed", "luckiest seed"),
    ],
)
def test_a_study_that_its_preset_does_not_fit_is_refused(
    http: TestClient, changes: dict[str, Any], field: str, reason: str
) -> None:
    for call in ("/v1/studies", "/v1/studies:validate"):
        answer = http.post(call, json=preset_spec(**changes))
        assert answer.status_code == 422, answer.text
        error = answer.json()["errors"][0]
        assert error["field"] == field
        assert reason in error["message"]
    assert http.get("/v1/studies").json()["studies"] == []


def test_the_seed_is_no_dimension(http: TestClient) -> None:
    answer = http.post("/v1/studies", json=spec(search_space={"seed": {"type": "int", "low": 0, "high": 9}}))
    assert "a seed is no hyperparameter" in answer.json()["errors"][0]["message"]


def test_a_study_without_space_and_preset_is_refused(http: TestClient) -> None:
    own = spec()
    del own["search_space"]
    answer = http.post("/v1/studies", json=own)
    assert answer.json()["errors"][0]["field"] == "search_space"
    assert "a preset" in answer.json()["detail"]


def test_a_study_with_a_preset_runs_and_begins_at_its_defaults(http: TestClient, worker: HandWorker) -> None:
    http.post("/v1/studies", json=preset_spec(fixed={"weight_decay": 0.1}) | {"n_trials": 2})
    worker.prepare()
    first = worker.run_trial(0.9)["params"]
    second = worker.run_trial(0.5)["params"]
    lines = preset_of(http)["parameters"]
    assert first == {name: line["default"] for name, line in lines.items()} | {"weight_decay": 0.1}
    assert first.keys() == second.keys()
    assert second["learning_rate"] != first["learning_rate"]
    best = http.get("/v1/studies/feedback/best").json()
    assert (best["number"], best["baseline"]["params"]["epochs"]) == (1, 10)
    assert best["training_arguments"]["warmup_steps"] == second["warmup_ratio"]


def test_a_study_of_several_methods_begins_with_the_default_of_its_method(http: TestClient, worker: HandWorker) -> None:
    http.post("/v1/studies", json=preset_spec("encoder-methods"))
    worker.prepare()
    params = worker.take()["params"]
    assert (params["method"], params["learning_rate"]) == ("full", 2e-5)
    assert "lora_rank" not in params


def test_validating_starts_nothing_and_shows_what_would_be(http: TestClient) -> None:
    found = http.post("/v1/studies:validate", json=preset_spec()).json()
    assert http.get("/v1/studies").json()["studies"] == []
    assert (found["warnings"], found["advice"]) == ([], [])
    assert found["spec"]["search_space"].keys() > {"learning_rate", "frozen_fraction"}
    assert (found["spec"]["pruner"]["name"], found["spec"]["fixed"]["epochs"]) == ("median", 20)
    assert found["spec"]["data"]["max_length"] is None
    assert {name: found[name] for name in found if name not in ("spec", "warnings", "advice")} == {
        "plan": "20 trials: the baseline first, then what random proposes; a trial ends early after 3 evaluations "
        "without a better value, and once 5 are complete, where it is worse than the median of the others at the same "
        "evaluation",
        "n_parameters": 4,
        "size_of_space": None,
        "n_trials": 20,
        "n_trials_advised": 20,
        "longest_trial_evaluations": 20,
        "quote": None,
        "warm_start": None,
    }


def test_validating_counts_a_grid(http: TestClient) -> None:
    space = {
        "epochs": {"type": "int", "low": 1, "high": 3},
        "batch_size": {"type": "categorical", "choices": [8, 16]},
    }
    own = spec(search_space=space, sampler={"name": "grid"}, n_trials=10, training={"evaluations_per_epoch": 2})
    found = http.post("/v1/studies:validate", json=own).json()
    assert [found[name] for name in ("size_of_space", "n_trials", "longest_trial_evaluations")] == [6, 6, 6]
    (warning,) = found["warnings"]
    assert warning == {
        "field": "n_trials",
        "message": "the space holds 6 different trials, fewer than n_trials = 10: the study ends after them",
        "advice": "lower n_trials to 6, or widen the space",
    }
    (advice,) = found["advice"]
    assert advice["sentence"] == f"{warning['field']}: {warning['message']}; {warning['advice']}"
    assert advice["changes"] == [{"field": "n_trials", "value": 6}]


def test_the_warnings_of_a_validation_are_stored_on_the_study(http: TestClient, worker: HandWorker) -> None:
    linear = {"learning_rate": {"type": "float", "low": 1e-5, "high": 1e-3}}
    found = http.post("/v1/studies:validate", json=spec(search_space=linear)).json()
    (warning,) = found["warnings"]
    said = f"{warning['field']}: {warning['message']}; {warning['advice']}"
    assert said.startswith("search_space.learning_rate.log: on a linear scale")
    assert http.post("/v1/studies", json=spec(search_space=linear)).json()["warnings"] == [said]
    worker.prepare(warnings=["a text is empty"])
    stored = http.get("/v1/studies/feedback").json()["warnings"]
    assert stored[:2] == [said, "a text is empty"]
    assert stored[2].startswith("data.validation: the validation split is 20 rows")
