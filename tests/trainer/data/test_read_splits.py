"""Good data is read as it is written; bad data is named with its row."""

from pathlib import Path
from typing import Any

import pytest

from tests.trainer import tiny
from tests.trainer.data.tables import GOOD, pairs, read
from trainer.errors import DataError


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    (tmp_path / "train.csv").mkdir()
    with pytest.raises(DataError, match=r"train\.csv is not a file"):
        read(tmp_path)


@pytest.mark.parametrize("split", [{"validation": "other.csv"}, {"test": "other.csv"}], ids=str)
def test_a_label_that_train_does_not_know_is_refused(tmp_path: Path, split: dict[str, Any]) -> None:
    tiny.write_csv(tmp_path / "train.csv", GOOD)
    tiny.write_csv(tmp_path / "other.csv", [("a", "x"), ("b", "z")])
    with pytest.raises(DataError, match=r"other\.csv, row 2: the label 'z' does not occur in train\.csv"):
        read(tmp_path, **split)


def test_absent_validation_is_a_stratified_fifth_drawn_by_the_seed(tmp_path: Path) -> None:
    examples = [(f"text {i}", "rare" if i < 10 else "common") for i in range(100)]
    tiny.write_csv(tmp_path / "train.csv", examples)
    splits, again, other = (read(tmp_path, seed=seed) for seed in (1, 1, 2))
    assert sorted(pairs(splits.train) + pairs(splits.validation)) == sorted(examples)
    assert splits.validation.targets.count("rare") == 2
    assert splits.validation.targets.count("common") == 18
    assert splits.validation.inputs == again.validation.inputs
    assert splits.validation.inputs != other.validation.inputs


def test_two_rows_of_a_class_are_one_for_each_split(tmp_path: Path) -> None:
    tiny.write_csv(tmp_path / "train.csv", GOOD)
    splits = read(tmp_path)
    assert sorted(splits.train.targets) == sorted(splits.validation.targets) == ["x", "y"]


def test_the_hash_covers_every_split_the_columns_and_the_length(with_validation: Path) -> None:
    tiny.write_csv(with_validation / "train.csv", GOOD)
    base: dict[str, Any] = {"validation": "validation.csv", "test": "validation.csv"}
    hashes = [
        read(with_validation, **base).sha256,
        read(with_validation, **base | {"test": None}).sha256,
        read(with_validation, **base | {"validation": None}).sha256,
        read(with_validation, **base | {"max_length": 64}).sha256,
    ]
    again = read(with_validation, **base).sha256
    tiny.write_csv(with_validation / "train.csv", [*GOOD[:-1], ("g h!", "y")])
    hashes.append(read(with_validation, **base).sha256)
    assert hashes[0] == again
    assert len(set(hashes)) == len(hashes)
