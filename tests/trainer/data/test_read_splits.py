"""Good data is read as it is written; bad data is named with its row."""

import json
import re
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from spezia.contract.data import Data
from tests.trainer import tiny
from trainer.data.read_splits import read_splits, read_table
from trainer.data.rows import Rows, Splits
from trainer.data.warnings import data_warnings
from trainer.errors import DataError
from trainer.tasks.text_classification import TextClassification

GOOD = [("a b", "x"), ("c d", "y"), ("e f", "x"), ("g h", "y")]


def read(root: Path, *, seed: int = 0, roots: list[Path] | None = None, **data: Any) -> Splits[str, str]:
    columns = {"text": "text", "label": "label"} | data.pop("columns", {})
    named = Data.model_validate({"train": "train.csv", "columns": columns} | data)
    folders = [root] if roots is None else roots
    table = read_table(named.train, named.columns, folders)
    return read_splits(TextClassification(), named, table, seed=seed, roots=folders)


def write(root: Path, content: str | bytes, name: str = "train.csv") -> None:
    (root / name).write_bytes(content.encode() if isinstance(content, str) else content)


def write_jsonl(root: Path, rows: list[Any], name: str = "train.jsonl") -> None:
    write(root, "".join(json.dumps(row) + "\n" for row in rows), name)


def write_parquet(root: Path, columns: dict[str, Any], name: str = "train.parquet") -> None:
    pyarrow.parquet.write_table(pyarrow.table(columns), root / name)


def pairs(rows: Rows[str, str]) -> list[tuple[str, str]]:
    return list(zip(rows.inputs, rows.targets, strict=True))


@pytest.fixture
def with_validation(tmp_path: Path) -> Path:
    tiny.write_csv(tmp_path / "validation.csv", GOOD)
    return tmp_path


def test_csv_is_read_word_by_word(with_validation: Path) -> None:
    write(
        with_validation,
        "\ufeffid,text,label,score\n"
        '1,NA,x,1.5\n2,"null",y,NA\n3,007,x,\n4,"two\nlines, one ""text""",y,n/a\n5,2024-01-01,1e5,0\n',
    )
    splits = read(with_validation, validation="train.csv")
    assert pairs(splits.train) == [
        ("NA", "x"),
        ("null", "y"),
        ("007", "x"),
        ('two\nlines, one "text"', "y"),
        ("2024-01-01", "1e5"),
    ]


def test_one_long_text_is_longer_than_a_reading_block(with_validation: Path) -> None:
    long = "many words\n" * 300_000
    tiny.write_csv(with_validation / "train.csv", [*GOOD, (long, "x")])
    assert read(with_validation, validation="validation.csv").train.inputs[-1] == long


@pytest.mark.parametrize(("labels", "names"), [([2, 10, 2, 10], ("2", "10")), ([True, False] * 2, ("False", "True"))])
def test_labels_that_are_numbers_become_names(with_validation: Path, labels: list[Any], names: tuple[str, ...]) -> None:
    texts = [text for text, _ in GOOD]
    write_jsonl(with_validation, [{"text": t, "label": n} for t, n in zip(texts, labels, strict=True)])
    write_parquet(with_validation, {"text": texts, "label": labels})
    from_jsonl = read(with_validation, train="train.jsonl")
    from_parquet = read(with_validation, train="train.parquet")
    assert from_jsonl.class_names == from_parquet.class_names == names
    assert pairs(from_jsonl.train) == pairs(from_parquet.train)


def test_jsonl_texts_that_look_like_dates_stay_texts(with_validation: Path) -> None:
    write_jsonl(with_validation, [{"text": "2024-01-01", "label": "x"}, {"text": "2024-01-02", "label": "y"}])
    splits = read(with_validation, train="train.jsonl", validation="validation.csv")
    assert splits.train.inputs == ["2024-01-01", "2024-01-02"]


def test_columns_may_have_other_names(with_validation: Path) -> None:
    tiny.write_csv(with_validation / "train.csv", GOOD, header=("body", "mood"))
    splits = read(with_validation, columns={"text": "body", "label": "mood"})
    assert splits.class_names == ("x", "y")


NO_COLUMN = "train.csv has no column 'label', only 'text', 'labels'; set data.columns.label; did you mean 'labels'?"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "train.csv is empty"),
        (b"text,label\n", "train.csv has no rows"),
        (b"text,labels\na,x\n", NO_COLUMN),
        (b"text,label,label\na,x,x\n", "train.csv has 2 columns 'label'"),
        (b"text,label\na,x\nb\xff,y\n", "train.csv, line 3: byte 16 (0xff) is not UTF-8"),
        (b"text,label\na,x\nb,y,z\n", "train.csv is not a well-formed CSV file: CSV parse error: Row #3"),
        (b"text,label\na,x\nb,x\n", "train.csv holds one class only, 'x'"),
        (b"text,label\na,x\nb,\n", "train.csv, row 2: there is no label"),
        (b"text,label\na,x\nb, \n", "train.csv, row 2: there is no label"),
        (b"text,label\na,x\nb,y\nc,x\n", "train.csv, row 2: the only example of class 'y'"),
    ],
)
def test_bad_csv_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    write(tmp_path, content)
    with pytest.raises(DataError, match=re.escape(message)):
        read(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"text": "a", "label": "x"}\n\n{"text": "b"', "train.jsonl, line 3: not JSON"),
        ('["a", "x"]', "train.jsonl, line 1: not an object"),
        ('{"txt": "a", "label": "x"}', "train.jsonl has no column 'text', only 'txt', 'label'"),
        ('{"text": "a", "label": "x"}\n{"label": "y"}', "train.jsonl, row 2: there is no text"),
        ('{"text": null, "label": "x"}', None),
        ('{"text": 7, "label": "x"}', "train.jsonl, row 1: the text is 7, not a string"),
        ('{"text": "\\ud83d", "label": "x"}', "train.jsonl, row 1: the text holds half of a surrogate pair"),
        ('{"text": "a", "label": null}', "train.jsonl, row 1: there is no label"),
        ('{"text": "a", "label": 1.0}', "train.jsonl, row 1: the label 1.0 is neither a name nor a whole"),
        ('{"text": "a", "label": {"x": 1}}', "train.jsonl, row 1: the label {'x': 1} is neither"),
        ("[" * 200_000, "train.jsonl, line 1: not JSON"),
    ],
)
def test_bad_jsonl_is_refused(tmp_path: Path, content: str, message: str | None) -> None:
    write(tmp_path, content, "train.jsonl")
    with pytest.raises(DataError, match=re.escape(message or "train.jsonl, row 1: there is no text")):
        read(tmp_path, train="train.jsonl")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"text": ["a", None], "label": ["x", "y"]}, "train.parquet, row 2: there is no text"),
        ({"text": ["a", "b"], "label": ["x", None]}, "train.parquet, row 2: there is no label"),
        ({"text": ["a", "b"], "label": [0.0, 1.0]}, "train.parquet, row 1: the label 0.0 is neither"),
        ({"text": [b"a", b"b"], "label": ["x", "y"]}, "train.parquet, row 1: the text is b'a', not a string"),
        ({"text": ["a", "b"]}, "train.parquet has no column 'label'"),
    ],
)
def test_bad_parquet_is_refused(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    write_parquet(tmp_path, columns)
    with pytest.raises(DataError, match=re.escape(message)):
        read(tmp_path, train="train.parquet")


def test_a_file_that_is_no_parquet_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "text,label\n", "train.parquet")
    with pytest.raises(DataError, match=r"train\.parquet is not a readable Parquet file"):
        read(tmp_path, train="train.parquet")


@pytest.mark.parametrize(
    ("name", "message"),
    [("train.json", "unknown suffix '.json'; use .csv, .jsonl, .parquet; save one"), ("train", "unknown suffix ''")],
)
def test_unknown_suffix_is_refused(tmp_path: Path, name: str, message: str) -> None:
    write(tmp_path, "[]", name)
    with pytest.raises(DataError, match=re.escape(message)):
        read(tmp_path, train=name)


def test_missing_file_is_refused_with_the_folders_that_were_tried(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=re.escape(f"train.csv under {tmp_path} does not exist")):
        read(tmp_path)


def test_a_name_that_no_file_can_have_is_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        read(tmp_path, train="x" * 900 + ".csv")


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    (tmp_path / "train.csv").mkdir()
    with pytest.raises(DataError, match=r"train\.csv is not a file"):
        read(tmp_path)


def test_relative_paths_are_tried_under_each_root_in_turn(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    tiny.write_csv(second / "train.csv", GOOD)
    assert read(first, roots=[first, second]).class_names == ("x", "y")
    tiny.write_csv(first / "train.csv", [(text, label.upper()) for text, label in GOOD])
    assert read(first, roots=[first, second]).class_names == ("X", "Y")
    assert read(first, roots=[first, second], train=str(second / "train.csv")).class_names == ("x", "y")


@pytest.mark.parametrize("name", ["{outside}/train.csv", "../outside/train.csv", "link.csv"])
def test_files_outside_the_roots_are_refused(tmp_path: Path, name: str) -> None:
    outside, root = tmp_path / "outside", tmp_path / "root"
    outside.mkdir()
    root.mkdir()
    tiny.write_csv(outside / "train.csv", GOOD)
    (root / "link.csv").symlink_to(outside / "train.csv")
    with pytest.raises(DataError, match=f"--data-root {re.escape(str(outside))}"):
        read(root, train=name.format(outside=outside))


def test_a_link_inside_the_roots_is_followed(tmp_path: Path) -> None:
    tiny.write_csv(tmp_path / "data.csv", GOOD)
    (tmp_path / "train.csv").symlink_to(tmp_path / "data.csv")
    assert read(tmp_path).class_names == ("x", "y")


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
