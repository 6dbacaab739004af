"""Which studies can be confirmed, and how many models they keep then."""

from typing import Any

import pytest

from spezia.contract.study_spec import StudySpec, Training
from tests.service.search.builders import make_spec


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"confirm": {"top": 11}}, "confirm.top"),
        ({"confirm": {"seeds": 1}}, "confirm.seeds"),
        ({"baseline": False}, "set baseline to true"),
        ({"objective": [{"metric": "accuracy"}, {"metric": "device_seconds"}]}, "no single winner"),
        ({"task": "script", "script": "a.py", "model": None, "data": None, "baseline": False}, "no fresh seeds"),
    ],
)
def test_a_study_that_cannot_be_confirmed_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make_spec(**({"confirm": {}} | changes))


@pytest.mark.parametrize(
    ("fields", "n_models"),
    [
        ({}, 1),
        ({"confirm": {}}, 3),
        ({"confirm": {"top": 5}, "training": {"evaluations_per_epoch": 2}}, 5),
        ({"confirm": {"top": 5}, "training": Training(evaluations_per_epoch=2)}, 5),
        ({"confirm": {"top": 5}, "training": {"keep_models": 1}}, 1),
    ],
    ids=["no confirm", "three", "five", "a model's fields", "stated"],
)
def test_a_model_is_kept_of_each_that_may_win(fields: dict[str, Any], n_models: int) -> None:
    spec = make_spec(**fields)
    assert spec.training.keep_models == n_models
    assert StudySpec.model_validate_json(spec.model_dump_json()) == spec
