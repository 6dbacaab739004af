"""How long trials take beside each other, as far as that decides which of them begins first."""

from typing import Any

import pytest

from service.lifecycle.leases.choose_waiting import relative_length
from spezia.contract.facts import Facts
from tests.service.hand_worker import FACTS


@pytest.mark.parametrize(
    ("longer", "shorter"),
    [
        ({"epochs": 3}, {"epochs": 2}),
        ({"batch_size": 8}, {"batch_size": 16}),
        ({}, {"frozen_layers": 1}),
        ({"frozen_layers": 2}, {"frozen_fraction": 0.5}),
        ({"frozen_layers": 6, "unfreeze": "gradual"}, {"frozen_layers": 5}),
        ({}, {"method": "lora"}),
        ({"method": "lora"}, {"method": "head_only"}),
        ({"frozen_layers": 6, "epochs": 10}, {"frozen_layers": 6, "epochs": 9}),
    ],
)
def test_what_trains_more_takes_longer(longer: dict[str, Any], shorter: dict[str, Any]) -> None:
    facts = Facts.model_validate(FACTS)
    assert relative_length(longer, facts) > relative_length(shorter, facts)


def test_a_model_without_blocks_trains_whole() -> None:
    facts = Facts.model_validate(FACTS | {"blocks": None})
    assert relative_length({"frozen_layers": 3}, facts) == relative_length({}, facts)
