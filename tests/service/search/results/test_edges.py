"""What is said about winners at the edge of their ranges."""

from typing import Any

import pytest

from service.search.results.edges import edges
from spezia.contract.study_spec import StudySpec
from tests.service.hand_worker import spec


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
        (EPOCHS, {"epochs": 8}, "set search_space.epochs.high to 15"),
        (EPOCHS, {"epochs": 1}, None),  # there is no shorter trial
        (DROPOUT, {"dropout": 0.0}, None),
        (DROPOUT, {"dropout": 0.199}, "set search_space.dropout.high to 0.4"),
        (BATCHES, {"batch_size": 32}, "add 64 to search_space.batch_size.choices"),
        (BATCHES, {"batch_size": 8}, "add 4 to search_space.batch_size.choices"),
        (BATCHES, {"batch_size": 16}, None),
        (frozen_up_to(6), {"frozen_layers": 6}, None),
        (frozen_up_to(3), {"frozen_layers": 3}, "set search_space.frozen_layers.high to 6"),
    ],
)
def test_winner_at_the_edge_of_a_range(space: dict[str, Any], params: dict[str, Any], said: str | None) -> None:
    facts = type("Facts", (), {"blocks": 6})()
    found = edges(study(search_space=space), params, facts)
    assert (said in found[0]) if said else (found == [])
