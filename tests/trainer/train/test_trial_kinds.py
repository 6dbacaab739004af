"""Which kinds of trials a study may have that differ in the time of a step."""

from typing import Any

import pytest

from tests.trainer import tiny
from trainer.train.trial_kinds import trial_kinds, value_ends

LAYERS = {"type": "int", "low": 1, "high": 3}
LORA = {"type": "categorical", "choices": ["head_only", "lora", "full"]}


def choices(*values: Any, **when: Any) -> dict[str, Any]:
    return {"type": "categorical", "choices": list(values), "when": when}


@pytest.mark.parametrize(
    ("space", "fixed", "kinds"),
    [
        ({}, {}, [("full", 0, False)]),
        ({}, {"frozen_layers": 2}, [("full", 2, False)]),
        ({"frozen_layers": LAYERS}, {}, [("full", 1, False), ("full", 3, False)]),
        ({"frozen_fraction": choices(0.25, 1.0)}, {}, [("full", 1, False), ("full", 4, False)]),
        ({"gradient_checkpointing": choices(False, True)}, {}, [("full", 0, True), ("full", 0, False)]),
        ({"method": LORA}, {}, [("full", 0, False), ("lora", 0, False), ("head_only", 4, False)]),
        (
            {"method": choices("lora", "full"), "frozen_layers": LAYERS | {"when": {"method": "lora"}}},
            {},
            [("full", 0, False), ("lora", 1, False), ("lora", 3, False)],
        ),
    ],
)
def test_kinds_come_with_those_first_that_take_longest(
    space: dict[str, Any], fixed: dict[str, Any], kinds: list[tuple[str, int, bool]]
) -> None:
    spec = tiny.make_spec(search_space=dict(RATE) | space, fixed=fixed)
    found = [(one.method, one.depth(4), one.gradient_checkpointing) for one in trial_kinds(spec, 4)]
    assert found == kinds


RATE = {"learning_rate": {"type": "float", "low": 1e-4, "high": 1e-2, "log": True}}


def test_adapters_are_the_largest_that_there_may_be() -> None:
    space = {"lora_rank": choices(4, 32), "lora_targets": choices("attention", "all-linear")}
    (kind,) = trial_kinds(tiny.make_spec(search_space=dict(RATE) | space, fixed={"method": "lora"}), 4)
    assert (kind.lora_rank, kind.lora_targets) == (32, "all-linear")


def test_ends_are_those_of_the_ranges_that_a_method_has() -> None:
    sizes = [choices(8, 16, method="full"), choices(32, method="lora")]
    spec = tiny.make_spec(search_space=dict(RATE) | {"method": choices("full", "lora"), "batch_size": sizes})
    found = [value_ends(spec, "batch_size", method) for method in ("full", "lora", None)]
    assert found == [{8, 16}, {32}, {8, 16, 32}]
    assert value_ends(spec, "epochs", "full") == {3}
