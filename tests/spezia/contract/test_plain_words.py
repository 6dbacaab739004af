"""What people read when a spec is malformed: what to write instead, and no word of pydantic's."""

import copy
import re
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from spezia.contract.plain_words import plain_errors
from spezia.contract.study_spec import StudySpec
from tests.service.hand_worker import spec

PYDANTIC = re.compile(
    r"Input should|Unable to extract|discriminator|Field required|Extra inputs|valid (string|integer|number|boolean|"
    r"list|dictionary)|should have at|should match|Input tag|union|\[type=|Value error"
)
FULL = spec(
    objective=[{"metric": "accuracy"}, {"metric": "validation_loss"}],
    constraints=[{"metric": "accuracy", "at_least": 0.5}],
    search_space={
        "method": {"type": "categorical", "choices": ["full", "lora"]},
        "learning_rate": [
            {"type": "float", "low": 1e-5, "high": 1e-3, "log": True, "when": {"method": "full"}},
            {"type": "float", "low": 1e-4, "high": 1e-2, "log": True, "when": {"method": ["lora"]}},
        ],
        "epochs": {"type": "int", "low": 1, "high": 3, "step": 1},
    },
    fixed={"dropout": 0.1},
    sampler={"name": "tpe", "options": {"n_startup_trials": 3}},
    pruner={"name": "none"},
    enqueue=[{"epochs": 2}],
    training={"evaluations_per_epoch": 1, "precision": "auto"},
    start_small={"fraction": 0.1, "trials": 1},
    n_parallel=2,
    target_value=None,
)
ODD: list[Any] = [
    None,
    True,
    5,
    -1,
    1.5,
    1e300,
    float("nan"),
    float("inf"),
    "",
    "odd",
    "x" * 2000,
    [],
    [1],
    ["a", None],
]
ODD += [{}, {"odd": 1}, {"name": "odd"}, {"type": "odd"}, {"type": []}, [[]], [{}]]


def errors_of(body: dict[str, Any]) -> list[tuple[str, str]]:
    try:
        StudySpec.model_validate(body)
    except ValidationError as refused:
        return [(".".join(map(str, loc)), message) for loc, message, _ in plain_errors(refused.errors())]
    return []


def places(body: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    for key in body if isinstance(body, dict) else range(len(body)) if isinstance(body, list) else []:
        yield (*path, key)
        yield from places(body[key], (*path, key))


def test_no_message_is_pydantics_own() -> None:
    assert errors_of(FULL) == []
    n_messages = 0
    for path in places(FULL):
        for odd in [*ODD, "left out"]:
            body = copy.deepcopy(FULL)
            parent: Any = body
            for part in path[:-1]:
                parent = parent[part]
            if odd == "left out":
                del parent[path[-1]]
            else:
                parent[path[-1]] = odd
            for field, message in errors_of(body):
                n_messages += 1
                assert not PYDANTIC.search(message), (path, odd, message)
                assert not re.search(r"[\[(]", field), (path, odd, field)
                assert "see /docs" not in message, (path, odd, message)
    assert n_messages > 500


RATE = "search_space.learning_rate"
LOG = '{"type": "float", "low": 1e-05, "high": 0.001, "log": true}'
LINEAR = '{"type": "float", "low": 1e-05, "high": 0.001}'


@pytest.mark.parametrize(
    ("entry", "written"),
    [
        ({"low": 1e-5, "high": 1e-3}, LINEAR),
        ({"distribution": "log_uniform_values", "min": 1e-5, "max": 1e-3}, LOG),
        ({"distribution": "log_uniform", "min": -11.512925464970229, "max": -6.907755278982137}, LOG),
        ({"distribution": "uniform", "min": 1e-5, "max": 1e-3}, LINEAR),
        ({"values": [1e-5, 1e-4]}, '{"type": "categorical", "choices": [1e-05, 0.0001]}'),
        ({"choice": [1e-5, 1e-4]}, '{"type": "categorical", "choices": [1e-05, 0.0001]}'),
        ({"type": "loguniform", "low": 1e-5, "high": 1e-3}, LOG),
        ({"type": "uniform", "low": 1e-5, "high": 1e-3}, LINEAR),
        ({"loguniform": [1e-5, 1e-3]}, LOG),
        ({"type": "tune.loguniform", "lower": 1e-5, "upper": 1e-3}, LOG),
        ({"type": "flaot", "low": 1e-5, "high": 1e-3}, LINEAR),
        ([1e-5, 1e-3], "a single value belongs in fixed"),
        (3e-5, "a single value belongs in fixed"),
    ],
)
def test_ranges_of_other_tools_are_written_as_ours(entry: Any, written: str) -> None:
    found = errors_of(spec(search_space={"learning_rate": entry}))
    assert written in found[0][1]


def test_type_is_that_of_the_hyperparameter() -> None:
    found = errors_of(spec(search_space={"epochs": {"distribution": "uniform", "min": 1, "max": 5}}))
    assert found[0][1].endswith('write {"type": "int", "low": 1, "high": 5}')


@pytest.mark.parametrize(
    ("changes", "field", "message"),
    [
        ({"sampler": "random"}, "sampler", 'write {"name": "random"}'),
        ({"pruner": "median"}, "pruner", 'write {"name": "median"}'),
        ({"model": "owner/m"}, "model", 'write {"name": "owner/m"}'),
        ({"data": "a.csv"}, "data", 'write {"train": "a.csv"}'),
        ({"objective": "accuracy"}, "objective.one", 'write {"metric": "accuracy"}'),
        ({"sampler": {"name": "tpee"}}, "sampler", "unknown name; did you mean 'tpe'?"),
        ({"sampler": {}}, "sampler", "must have a name"),
        ({"lr": 1}, "lr", "search it as search_space.learning_rate, or set it as fixed.learning_rate"),
        ({"num_samples": 1}, "num_samples", "here it is 'n_trials'"),
        ({"parameters": {}}, "parameters", "here it is 'search_space'"),
        ({"fixed": {"num_train_epochs": 3}}, "fixed.num_train_epochs", "here it is 'epochs'"),
        ({"fixed": {"per_device_train_batch_size": 3}}, "fixed.per_device_train_batch_size", "here it is 'batch_size'"),
        ({"fixed": {"warmup_steps": 3}}, "fixed.warmup_steps", "'warmup_ratio', a share of all optimizer steps"),
        ({"fixed": {"epochs": None}}, "fixed.epochs", "must be a number, a text, or true or false"),
    ],
)
def test_other_names_and_short_forms_are_told_what_to_write(changes: dict[str, Any], field: str, message: str) -> None:
    found = errors_of(spec(**changes))
    assert [text for where, text in found if where == field and message in text], found
