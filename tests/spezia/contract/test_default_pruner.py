"""Which pruner a study has that names none."""

from typing import Any

import pytest

from spezia.contract.study_spec import STORED, StudySpec

SPACE = {"learning_rate": {"type": "float", "low": 1e-5, "high": 1e-3, "log": True}}
STUDY: dict[str, Any] = {
    "task": "text-classification",
    "model": {"name": "m"},
    "data": {"train": "train.csv"},
    "search_space": SPACE,
}
SCRIPT: dict[str, Any] = {
    "task": "script",
    "script": "train.py",
    "objective": {"metric": "loss", "direction": "minimize"},
    "search_space": SPACE,
}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (STUDY, "median"),
        (STUDY | {"objective": {"metric": "accuracy"}}, "median"),
        (STUDY | {"n_trials": 6}, "median"),
        (STUDY | {"n_trials": 5}, "none"),
        (STUDY | {"objective": [{"metric": "validation_loss"}, {"metric": "device_seconds"}]}, "none"),
        (STUDY | {"search_space": SPACE | {"epochs": {"type": "int", "low": 2, "high": 6}}}, "none"),
        (STUDY | {"preset": "encoder-small-data", "search_space": {}}, "median"),
        (STUDY | {"preset": "encoder-small-data", "search_space": {}, "enqueue": [{"epochs": 5}]}, "none"),
        (SCRIPT, "none"),
        (STUDY | {"n_trials": 5, "pruner": {"name": "median"}}, "median"),
        (STUDY | {"pruner": {"name": "none"}}, "none"),
    ],
)
def test_the_median_prunes_where_it_can_act(body: dict[str, Any], expected: str) -> None:
    spec = StudySpec.model_validate(body)
    assert spec.pruner.name == expected
    again = StudySpec.model_validate(spec.model_dump(mode="json"), context=STORED)
    assert again.pruner == spec.pruner, "what was decided is written back"


@pytest.mark.parametrize("n_trials", ["many", None, 0, -1, [5]])
def test_a_refused_number_of_trials_is_refused_as_before(n_trials: Any) -> None:
    with pytest.raises(ValueError, match="n_trials"):
        StudySpec.model_validate(STUDY | {"n_trials": n_trials})
