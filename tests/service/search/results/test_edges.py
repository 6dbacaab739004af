"""What is said about winners at the edge of their ranges."""

from typing import Any

import pytest

from service.search.results.edges import edges
from spezia.contract.facts import Facts
from spezia.contract.study_spec import StudySpec
from tests.service.hand_worker import spec
from tests.service.search.builders import make_facts


def study(**changes: Any) -> StudySpec:
    return StudySpec.model_validate(spec(**changes))


SPACE = {"learning_rate": {"type": "float", "low": 1e-5, "high": 1e-3, "log": True}}


EPOCHS = {"epochs": {"type": "int", "low": 1, "high": 8}}


DROPOUT = {"dropout": {"type": "float", "low": 0.0, "high": 0.2}}


BATCHES = {"batch_size": {"type": "categorical", "choices": [8, 16, 32]}}


def frozen_up_to(high: int) -> dict[str, Any]:
    return {"frozen_layers": {"type": "int", "low": 0, "high": high}}


@pytest.mark.parametrize(
    ("space", "params", "said"),
    [
        (SPACE, {"learning_rate": 9.9e-4}, "upper edge of its range (0.001)"),
        (SPACE, {"learning_rate": 9.9e-4}, "set search_space.learning_rate.high to 0.003"),
        (SPACE, {"learning_rate": 1.01e-5}, "set search_space.learning_rate.low to 3.3e-06"),
        (SPACE, {"learning_rate": 1e-4}, None),
        (EPOCHS, {"epochs": 8}, None),  # the learning curve knows better
        (EPOCHS, {"epochs": 1}, None),
        (DROPOUT, {"dropout": 0.0}, None),
        (DROPOUT, {"dropout": 0.199}, "set search_space.dropout.high to 0.4"),
        (BATCHES, {"batch_size": 32}, "add 64 to search_space.batch_size.choices"),
        (BATCHES, {"batch_size": 8}, "add 4 to search_space.batch_size.choices"),
        (BATCHES, {"batch_size": 16}, None),
        (frozen_up_to(6), {"frozen_layers": 6}, None),
        (frozen_up_to(3), {"frozen_layers": 3}, "set search_space.frozen_layers.high to 6"),
        (frozen_up_to(4), {"frozen_layers": 4}, "set search_space.frozen_layers.high to 6"),
        (
            {"learning_rate": {"type": "float", "low": 1e-6, "high": 1e-3, "log": True}},
            {"learning_rate": 1e-3},
            "set search_space.learning_rate.high to 0.003 and set search_space.learning_rate.low to 3e-06",
        ),
        (
            {"learning_rate": {"type": "float", "low": 1e-6, "high": 1e-3, "log": True}},
            {"learning_rate": 1e-6},
            "set search_space.learning_rate.low to 3.3e-07 and set search_space.learning_rate.high to 0.00033",
        ),
        (
            {"learning_rate": {"type": "float", "low": 1e-5, "high": 1e-4}},
            {"learning_rate": 1e-5},
            "set search_space.learning_rate.low to 3.3e-06",
        ),
        ({"batch_size": {"type": "int", "low": 8, "high": 32, "log": True}}, {"batch_size": 32}, "high to 96"),
        ({"batch_size": {"type": "int", "low": 8, "high": 64}}, {"batch_size": 64}, "high to 100"),  # all rows
        ({"batch_size": {"type": "int", "low": 4, "high": 16, "step": 4}}, {"batch_size": 16}, "high to 28"),
        ({"batch_size": {"type": "categorical", "choices": [16, 32, 64]}}, {"batch_size": 64}, None),
        ({"frozen_layers": {"type": "categorical", "choices": [0, 2, 4]}}, {"frozen_layers": 4}, None),
        ({"dropout": {"type": "float", "low": 0.0, "high": 0.6}}, {"dropout": 0.6}, "high to 0.8"),
        ({"dropout": {"type": "float", "low": 0.0, "high": 0.3, "step": 0.1}}, {"dropout": 0.3}, "high to 0.6"),
        ({"adam_beta2": {"type": "float", "low": 0.9, "high": 0.999}}, {"adam_beta2": 0.999}, "high to 0.9995"),
        ({"layer_lr_decay": {"type": "float", "low": 0.3, "high": 1.0}}, {"layer_lr_decay": 0.3}, "low to 0.1"),
        ({"weight_decay": {"type": "float", "low": 0.1, "high": 0.3}}, {"weight_decay": 0.1}, "low to 0"),
    ],
)
def test_winner_at_the_edge_of_a_range(space: dict[str, Any], params: dict[str, Any], said: str | None) -> None:
    found = edges(study(search_space=space), params, make_facts())
    assert (said in str(found[0])) if said else (found == [])


@pytest.mark.parametrize("facts", [None, make_facts().model_copy(update={"blocks": None})])
def test_without_known_blocks_no_more_of_them_are_frozen(facts: Facts | None) -> None:
    assert edges(study(search_space=frozen_up_to(3)), {"frozen_layers": 3}, facts) == []


def test_what_matters_most_comes_first() -> None:
    space = BATCHES | DROPOUT | SPACE
    params = {"batch_size": 32, "dropout": 0.2, "learning_rate": 1e-3}
    found = [str(one) for one in edges(study(search_space=space), params, make_facts())]
    assert [sentence.split()[2] for sentence in found] == ["learning_rate,", "batch_size,", "dropout,"]
