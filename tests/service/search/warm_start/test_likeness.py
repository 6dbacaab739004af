"""How alike two studies are: by model, rows, classes, lengths, and what the linear probe found."""

from typing import Any

import pytest

from service.search.warm_start.likeness import is_comparable, likeness, skill_of
from spezia.contract.facts import Facts, Similarity
from tests.service.search.builders import SPACE, make_facts, make_spec


def probed(skill: float, **changes: Any) -> Facts:
    similarity = Similarity(metrics={"skill": skill}, suggestion=None, why="")
    return make_facts().model_copy(update={"similarity": similarity} | changes)


def test_a_study_of_the_same_is_as_alike_as_can_be() -> None:
    assert likeness(make_facts(), make_facts(), None) == 1.0
    assert likeness(probed(0.4), probed(0.4), 0.4) == 1.0


@pytest.mark.parametrize(
    "change",
    [
        {"model_sha256": "1" * 64},
        {"train_rows": 1_000},
        {"train_rows": 10},
        {"classes": [str(number) for number in range(20)]},
        {"max_tokens": 640},
    ],
    ids=lambda change: str(change)[:30],
)
def test_another_model_and_each_factor_of_ten_halve_it(change: dict[str, Any]) -> None:
    other = make_facts().model_copy(update=change)
    assert likeness(make_facts(), other, None) == pytest.approx(0.5)
    assert likeness(other, make_facts(), None) == pytest.approx(0.5)


def test_what_the_probe_found_counts_where_both_are_known() -> None:
    assert likeness(make_facts(), probed(0.9), 0.4) == pytest.approx(2**-0.5)
    assert likeness(make_facts(), probed(0.9), None) == 1.0
    assert likeness(make_facts(), make_facts(), 0.4) == 1.0
    assert (skill_of(probed(0.9)), skill_of(make_facts())) == (0.9, None)


def test_tasks_without_classes_are_alike() -> None:
    none = make_facts().model_copy(update={"classes": []})
    assert likeness(none, none, None) == 1.0


@pytest.mark.parametrize(
    ("change", "is_like"),
    [
        ({}, True),
        ({"objective": {"metric": "accuracy"}}, False),
        ({"objective": [{"metric": "validation_loss"}, {"metric": "accuracy"}]}, False),
        ({"fixed": {"method": "lora"}}, False),
        ({"search_space": {"weight_decay": SPACE["weight_decay"]}}, True),
        ({"search_space": {"dropout": {"type": "float", "low": 0.0, "high": 0.3}}}, False),
    ],
    ids=lambda change: str(change)[:40],
)
def test_studies_of_another_question_are_not_compared(change: dict[str, Any], is_like: bool) -> None:
    assert is_comparable(make_spec(), make_spec(**change)) is is_like
