"""The pruner `rungs` in a spec: how many trials it begins, and what it cannot be combined with."""

from typing import Any

import pytest
from pydantic import ValidationError

from spezia.contract.pruners import RungsPruner
from spezia.contract.study_spec import StudySpec

TEXTS = {
    "task": "text-classification",
    "model": {"name": "models/tiny"},
    "data": {"train": "train.csv"},
    "search_space": {"learning_rate": {"type": "float", "low": 1e-5, "high": 1e-3, "log": True}},
}
SCRIPT = {
    "task": "script",
    "script": "train.py",
    "objective": {"metric": "loss", "direction": "minimize"},
    "search_space": {"rate": {"type": "float", "low": 0.0, "high": 1.0}},
}
RUNGS = {"name": "rungs"}


def spec(body: dict[str, Any], **fields: Any) -> StudySpec:
    return StudySpec.model_validate(body | fields)


def test_rungs_begin_64_trials_unless_the_spec_says_how_many() -> None:
    assert spec(TEXTS, pruner=RUNGS).n_trials == spec(TEXTS, pruner=RungsPruner(name="rungs")).n_trials == 64
    assert spec(TEXTS, pruner=RUNGS, n_trials=7).n_trials == 7
    assert spec(TEXTS).n_trials == 20


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (SCRIPT, {}),
        (TEXTS, {"objective": [{"metric": "validation_loss"}, {"metric": "device_seconds"}]}),
    ],
    ids=["script", "several objectives"],
)
def test_rungs_are_refused_where_trials_cannot_be_paused_or_ranked(body: dict[str, Any], fields: Any) -> None:
    with pytest.raises(ValidationError, match=r"(?s)pruner\.name"):
        spec(body, pruner=RUNGS, **fields)
