"""Conditional search spaces over HTTP: what is refused, and what reaches a worker."""

from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.service.hand_worker import HandWorker, spec
from tests.service.search.space.test_conditions import SPACE, rate

METHOD = {"type": "categorical", "choices": ["full", "lora"]}
RANK: dict[str, Any] = {"type": "categorical", "choices": [8, 16]}
DECAY: dict[str, Any] = {"type": "float", "low": 0.0, "high": 0.1}
LORA = {"when": {"method": "lora"}}


def space(**entries: Any) -> dict[str, Any]:
    return {"search_space": {"method": METHOD} | entries}


DEEP: dict[str, dict[str, Any]] = {
    "method": METHOD,
    "lora_targets": {"type": "categorical", "choices": ["attention"], "when": {"method": "lora"}},
    "lora_rank": RANK | {"when": {"lora_targets": "attention"}},
    "batch_size": {"type": "categorical", "choices": [8], "when": {"lora_rank": 8}},
    "epochs": {"type": "categorical", "choices": [2], "when": {"batch_size": 8}},
    "weight_decay": DECAY | {"when": {"epochs": 2}},
}

REFUSED: list[tuple[dict[str, Any], str, str]] = [
    (space(lora_rank=RANK), "search_space.lora_rank", "method full has no lora_rank; add when: {method: lora}"),
    ({"search_space": {"lora_rank": RANK}}, "search_space.lora_rank", "method full has no lora_rank"),
    (
        {"fixed": {"lora_rank": 8}},
        "fixed.lora_rank",
        "lora_rank exists only with method lora; drop it, or change method",
    ),
    (
        {"fixed": {"method": "head_only", "frozen_layers": 2}},
        "fixed.frozen_layers",
        "frozen_layers exists only with method full or lora",
    ),
    (
        {"fixed": {"method": "head_only"}, "search_space": {"unfreeze": {"type": "categorical", "choices": ["none"]}}},
        "search_space.unfreeze",
        "method head_only has no unfreeze; add when: {method: [full, lora]}",
    ),
    (
        space(lora_rank=RANK | {"when": {"methods": "lora"}}),
        "search_space.lora_rank.when.methods",
        "neither in search_space nor in fixed; add it to one of them; did you mean 'method'?",
    ),
    (
        space(lora_rank=RANK | {"when": {"unfreeze": "none"}}),
        "search_space.lora_rank.when.unfreeze",
        "unfreeze is neither in search_space nor in fixed",
    ),
    (
        space(lora_rank=RANK | {"when": {"method": "lora2"}}),
        "search_space.lora_rank.when.method",
        "method is never lora2",
    ),
    (
        {"search_space": {"lora_rank": RANK | LORA}, "fixed": {"method": "full"}},
        "search_space.lora_rank.when.method",
        "method is never lora; it may be full",
    ),
    (
        space(epochs={"type": "int", "low": 1, "high": 3}, weight_decay=DECAY | {"when": {"epochs": 2}}),
        "search_space.weight_decay.when.epochs",
        "a condition needs a categorical parameter, and epochs is a range of numbers",
    ),
    (
        space(
            lora_rank=RANK | {"when": {"lora_targets": "attention"}},
            lora_targets=DEEP["lora_targets"] | {"when": {"lora_rank": 8}},
        ),
        "search_space.lora_rank",
        "lora_rank depends on itself",
    ),
    ({"search_space": DEEP}, "search_space.weight_decay", "more than 4 others"),
    (
        space(learning_rate=[rate(1e-5, 1e-4, "full"), rate(1e-4, 1e-3, ["full", "lora"])]),
        "search_space.learning_rate.1",
        "two ranges of learning_rate could apply to the same trial",
    ),
    (
        space(learning_rate=[rate(1e-5, 1e-4, "full"), rate(1e-3, 1e-4, "lora")]),
        "search_space.learning_rate.1.low",
        "lies above high",
    ),
    (space(weight_decay=[DECAY | LORA]), "search_space.weight_decay", "2 entries or more"),
    (
        space(frozen_layers={"type": "int", "low": 0, "high": 2}, frozen_fraction=DECAY),
        "search_space.frozen_fraction",
        "both set the number of frozen blocks",
    ),
    (
        space(lora_rank=RANK | LORA) | {"sampler": {"name": "gp"}},
        "sampler.name",
        "gp needs every parameter in every trial",
    ),
    (space(lora_rank=RANK | LORA) | {"sampler": {"name": "cmaes"}}, "sampler.name", "cmaes needs every parameter"),
    (space(lora_rank=RANK | LORA) | {"sampler": {"name": "grid"}}, "sampler.name", "grid needs every parameter"),
    (
        space(lora_rank=RANK | LORA) | {"sampler": {"name": "tpe", "options": {"multivariate": False}}},
        "sampler.options.multivariate",
        "need a multivariate tpe",
    ),
    (
        space(lora_rank=RANK | LORA) | {"enqueue": [{"lora_rank": 8}]},
        "enqueue.0.lora_rank",
        "a trial has lora_rank only with method = lora",
    ),
    (
        space(lora_rank=RANK | LORA) | {"enqueue": [{"method": "full", "lora_rank": 8}]},
        "enqueue.0.lora_rank",
        "a trial has lora_rank only with method = lora",
    ),
    (
        space(learning_rate=[rate(1e-5, 1e-4, "full"), rate(1e-4, 1e-3, "lora")])
        | {"enqueue": [{"method": "full", "learning_rate": 5e-4}]},
        "enqueue.0.learning_rate",
        "must be a number from 1e-05 to 0.0001",
    ),
    (space(gradient_checkpointing=DECAY), "search_space.gradient_checkpointing", "are true or false"),
]


@pytest.mark.parametrize(("changes", "field", "reason"), REFUSED, ids=[reason[:40] for _, _, reason in REFUSED])
def test_each_rule_names_its_field_and_its_reason(
    refusing: TestClient, changes: dict[str, Any], field: str, reason: str
) -> None:
    answer = refusing.post("/v1/studies", json=spec(**changes))
    assert answer.status_code == 422, answer.text
    errors = {error["field"]: error["message"] for error in answer.json()["errors"]}
    assert field in errors, errors
    assert reason in errors[field]


def test_a_worker_gets_plain_params_and_only_those_that_its_trial_has(http: TestClient, worker: HandWorker) -> None:
    enqueued = {"method": "lora", "lora_rank": 32, "learning_rate": 1e-4, "lora_targets": "attention"}
    changes = {
        "search_space": SPACE,
        "fixed": {"epochs": 2, "lora_alpha_ratio": 1.0},
        "sampler": {"name": "tpe"},
        "baseline": True,
        "enqueue": [enqueued, {"method": "head_only"}],
        "n_trials": 6,
    }
    assert http.post("/v1/studies", json=spec(**changes)).status_code == 201
    worker.prepare()
    second, baseline, third, *others = (worker.run_trial(0.5 - 0.01 * number) for number in range(6))
    assert baseline["params"] == {
        "method": "full",
        "learning_rate": 2e-5,
        "weight_decay": 0.01,
        "frozen_layers": 0,
        "epochs": 2,
    }
    assert second["params"].items() >= (enqueued | {"epochs": 2, "lora_alpha_ratio": 1.0}).items()
    assert second["params"].keys() == enqueued.keys() | {"epochs", "lora_alpha_ratio", "weight_decay", "frozen_layers"}
    assert third["params"].keys() == {"method", "learning_rate", "weight_decay", "epochs"}
    assert all(("lora_rank" in held["params"]) == (held["params"]["method"] == "lora") for held in others)
    shown = http.get("/v1/studies/feedback/trials").json()["trials"]
    assert shown[1]["params"] == {name: second["params"][name] for name in shown[1]["params"]}
    assert shown[1]["params"].keys() == enqueued.keys() | {"weight_decay", "frozen_layers"}
    best = http.get("/v1/studies/feedback/best").json()
    assert best["params"] == {name: others[-1]["params"][name] for name in best["params"]}
    assert best["training_arguments"]["learning_rate"] == best["params"]["learning_rate"]
    assert best["baseline"]["params"]["learning_rate"] == 2e-5


def test_a_conditional_spec_reads_back_as_it_was_posted(http: TestClient) -> None:
    stored = http.post("/v1/studies", json=spec(search_space=SPACE, sampler={"name": "tpe"})).json()["spec"]
    first, second, _ = stored["search_space"]["learning_rate"]
    assert first == SPACE["learning_rate"][0] | {"step": None}
    assert second["when"] == {"method": "lora"}
    assert stored["search_space"]["frozen_layers"]["when"] == {"method": ["full", "lora"]}
    assert http.post("/v1/studies", json=stored).status_code == 200


@pytest.mark.parametrize(
    ("schedule", "given"),
    [
        ("linear", None),
        ("cosine_with_min_lr", {"min_lr_rate": 0.1}),
        ("warmup_stable_decay", {"num_decay_steps": 5, "decay_type": "1-sqrt"}),
    ],
)
def test_training_arguments_hold_what_a_schedule_is_given(
    http: TestClient, worker: HandWorker, schedule: str, given: dict[str, Any] | None
) -> None:
    http.post("/v1/studies", json=spec(n_trials=1, fixed={"lr_schedule": schedule}))
    worker.prepare()
    worker.run_trial(0.5)
    arguments = http.get("/v1/studies/feedback/best").json()["training_arguments"]
    assert arguments["lr_scheduler_type"] == schedule
    assert arguments.get("lr_scheduler_kwargs") == given  # 100 rows in batches of 16, 3 times
