from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from spezia import Categorical, Data, Float, Int, Model, StudySpec
from spezia.contract.ranges import Distribution


@pytest.mark.parametrize(
    ("in_python", "on_the_wire"),
    [
        (Float(1e-5, 1e-3, log=True), '{"type": "float", "low": 1e-5, "high": 1e-3, "log": true}'),
        (Float(low=0, high=1, step=0.25), '{"type": "float", "low": 0, "high": 1, "step": 0.25}'),
        (Float(0.0, 0.1, when={"a": "b"}), '{"type": "float", "low": 0, "high": 0.1, "when": {"a": "b"}}'),
        (Int(2, 6), '{"type": "int", "low": 2, "high": 6}'),
        (Int(2, 6, step=2), '{"type": "int", "low": 2, "high": 6, "step": 2}'),
        (
            Int(1, 9, log=True, when={"a": [1, 2]}),
            '{"type": "int", "low": 1, "high": 9, "log": true, "when": {"a": [1, 2]}}',
        ),
        (Categorical([16, 32]), '{"type": "categorical", "choices": [16, 32]}'),
        (
            Categorical(("a", "b"), when={"c": True}),
            '{"type": "categorical", "choices": ["a", "b"], "when": {"c": true}}',
        ),
    ],
)
def test_a_range_of_python_is_the_range_of_the_wire(in_python: Distribution, on_the_wire: str) -> None:
    assert in_python == TypeAdapter(Distribution).validate_json(on_the_wire)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Float(1, 0), r"low\n.*swap them"),
        (lambda: Float(0, 1, log=True), r"low\n.*above 0"),
        (lambda: Float("0", 1), r"low\n.*valid number"),
        (lambda: Int(0, 1.5), r"high\n.*valid integer"),
        (lambda: Int(0, 5, step=2), r"step\n.*does not divide"),
        (lambda: Categorical([]), r"choices\n.*at least 1"),
        (lambda: Categorical("ab"), r"choices\n.*valid list"),
        (lambda: Categorical([1, "a"]), r"choices\n.*use one type"),
    ],
)
def test_a_bad_range_is_refused_where_it_is_made_and_names_its_field(make: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        make()


def test_a_spec_of_python_objects_is_the_spec_of_the_same_json() -> None:
    in_python = StudySpec(
        task="text-classification",
        model=Model(name="tiny"),
        data=Data(train="train.csv", columns={"label": "category"}),
        search_space={
            "learning_rate": [
                Float(1e-6, 1e-4, log=True, when={"method": "full"}),
                Float(1e-5, 1e-3, log=True, when={"method": "lora"}),
            ],
            "method": Categorical(["full", "lora"]),
        },
    )
    assert in_python.data is not None
    assert in_python.data.columns == {"text": "text", "label": "category"}
    posted = in_python.model_dump(mode="json")
    posted["data"] = {"train": "train.csv", "columns": {"label": "category"}}
    assert StudySpec.model_validate(posted) == in_python


def test_data_of_a_python_object_get_the_columns_of_their_task() -> None:
    spec = StudySpec(
        task="text-classification",
        model=Model(name="tiny"),
        data=Data(train="train.csv"),
        search_space={"epochs": Int(1, 2)},
    )
    assert spec.data == Data(train="train.csv", columns={"text": "text", "label": "label"})
