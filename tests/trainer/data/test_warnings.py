"""What is odd about data but can be trained on is warned of."""

from pathlib import Path

from tests.trainer import tiny
from tests.trainer.data.tables import GOOD, read
from trainer.data.warnings import data_warnings
from trainer.tasks.text_classification import TextClassification


def test_odd_data_is_told_in_words(tmp_path: Path) -> None:
    examples = [("same", "x"), ("", "x"), *((f"text {i}", "x") for i in range(60)), ("b", "y"), ("c", "y")]
    tiny.write_csv(tmp_path / "train.csv", examples)
    tiny.write_csv(tmp_path / "validation.csv", [("same", "x"), ("new", "y")])
    tiny.write_csv(tmp_path / "test.csv", [("b", "y"), ("c", "y"), (" ", "x")])
    splits = read(tmp_path, validation="validation.csv", test="test.csv")
    *others, unbalanced = data_warnings(TextClassification(), splits)
    assert others == [
        "1 of 64 train texts are empty; the model can only guess there",
        "1 of 3 test texts are empty; the model can only guess there",
        "1 of 2 validation texts also occur in train; validation looks better than it is",
        "2 of 3 test texts also occur in train; test looks better than it is",
    ]
    assert unbalanced.startswith("classes are very unbalanced, 62 training rows of 'x' and 2 of 'y'")


def test_ordinary_data_warns_of_nothing(tmp_path: Path) -> None:
    tiny.write_csv(tmp_path / "train.csv", GOOD)
    assert data_warnings(TextClassification(), read(tmp_path)) == []
