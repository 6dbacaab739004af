"""Good tables are read as they are written; bad ones are named with their line or row."""

import gzip
import io
import re
import zipfile
from pathlib import Path
from typing import Any

import datasets
import pyarrow
import pytest

from tests.trainer import tiny
from tests.trainer.data.tables import GOOD, pairs, read, write, write_jsonl, write_parquet
from trainer.errors import DataError

NO_COLUMN = "train.csv has no column 'label', only 'text', 'labels'; set data.columns.label; did you mean 'labels'?"


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


def test_a_column_may_be_absent_from_the_first_row(with_validation: Path) -> None:
    write_jsonl(with_validation, [{"text": "a"}, {"text": "b", "label": "y"}])
    with pytest.raises(DataError, match=r"train.jsonl, row 1: there is no label; fill it in or remove the row"):
        read(with_validation, train="train.jsonl", validation="validation.csv")


def test_jsonl_texts_that_look_like_dates_stay_texts(with_validation: Path) -> None:
    write_jsonl(with_validation, [{"text": "2024-01-01", "label": "x"}, {"text": "2024-01-02", "label": "y"}])
    splits = read(with_validation, train="train.jsonl", validation="validation.csv")
    assert splits.train.inputs == ["2024-01-01", "2024-01-02"]


def test_columns_may_have_other_names(with_validation: Path) -> None:
    tiny.write_csv(with_validation / "train.csv", GOOD, header=("body", "mood"))
    splits = read(with_validation, columns={"text": "body", "label": "mood"})
    assert splits.class_names == ("x", "y")


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
    [
        ("train.json", "unknown suffix '.json'; use .csv, .tsv, .jsonl, .parquet; save one"),
        ("train", "unknown suffix ''"),
    ],
)
def test_unknown_suffix_is_refused(tmp_path: Path, name: str, message: str) -> None:
    write(tmp_path, "[]", name)
    with pytest.raises(DataError, match=re.escape(message)):
        read(tmp_path, train=name)


def test_a_parquet_file_keeps_the_names_of_its_classes(with_validation: Path) -> None:
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["y", "x"])})
    rows = {"text": [text for text, _ in GOOD], "label": [1, 0, 1, 0]}
    datasets.Dataset.from_dict(rows, features=features).to_parquet(with_validation / "train.parquet")
    assert pairs(read(with_validation, train="train.parquet", validation="validation.csv").train) == GOOD


@pytest.mark.parametrize(
    ("content", "name", "note"),
    [
        ("id;text;label\n1;a, b;x\n2;c;y\n", "train.csv", "';'"),
        ("text\tlabel\na, b\tx\nc\ty\n", "train.csv", r"'\\t'"),
        ("text\tlabel\r\na, b\tx\r\nc\ty\r\n", "train.tsv", r"'\\t'"),
        ("\ufefftext|label\na, b|x\nc|y\n", "train.csv", r"'\|'"),
        ("sep=;\r\ntext;label\r\na, b;x\r\nc;y\r\n", "train.csv", "';'"),
    ],
)
def test_another_separator_is_found_and_told(with_validation: Path, content: str, name: str, note: str) -> None:
    write(with_validation, content, name)
    splits = read(with_validation, train=name, validation="validation.csv")
    assert pairs(splits.train) == [("a, b", "x"), ("c", "y")]
    (found,) = splits.notes
    assert re.fullmatch(rf"{name}: its values are taken to be separated by {note}, not by commas", found)


def test_commas_separate_where_they_give_the_columns(with_validation: Path) -> None:
    write(with_validation, "text,label\na;b,x\nc|d,y\n")
    splits = read(with_validation, validation="validation.csv")
    assert (pairs(splits.train), splits.notes) == ([("a;b", "x"), ("c|d", "y")], ())


def zipped(**files: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in files.items():
            archive.writestr(name.replace("_dot_", "."), content)
    return stream.getvalue()


CSV = b"text,label\na,x\nb,y\n"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("train.csv.gz", gzip.compress(CSV, mtime=0)),
        ("train.zip", zipped(inside_dot_csv=CSV)),
        ("train.csv.zip", zipped(**{"folder/inside.csv": CSV, "__MACOSX/folder/._inside.csv": b"junk"})),
        ("train.jsonl.gz", gzip.compress(b'{"text": "a", "label": "x"}\n{"text": "b", "label": "y"}', mtime=0)),
    ],
)
def test_an_archive_of_one_file_is_read(with_validation: Path, name: str, content: bytes) -> None:
    write(with_validation, content, name)
    assert pairs(read(with_validation, train=name, validation="validation.csv").train) == [("a", "x"), ("b", "y")]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("train.zip", zipped(a_dot_csv=CSV, b_dot_csv=CSV), "train.zip holds 2 files; pack one file"),
        ("train.zip", b"PK\3\4", "train.zip cannot be unpacked (File is not a zip file)"),
        (
            "train.csv.gz",
            gzip.compress(CSV, mtime=0)[:-9],
            "train.csv.gz cannot be unpacked (Compressed file ended before",
        ),
        ("train.csv.gz", CSV, "train.csv.gz cannot be unpacked (Not a gzipped file"),
        ("train.gz", gzip.compress(CSV, mtime=0), "train.gz: unknown suffix ''"),
    ],
)
def test_a_bad_archive_is_refused(with_validation: Path, name: str, content: bytes, message: str) -> None:
    write(with_validation, content, name)
    with pytest.raises(DataError, match=re.escape(message)):
        read(with_validation, train=name, validation="validation.csv")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("separator", [",", ";"])
@pytest.mark.parametrize("last", [True, False])
def test_any_end_of_line_will_do(with_validation: Path, end: str, separator: str, last: bool) -> None:
    lines = [separator.join(row) for row in (("text", "label"), *GOOD)]
    write(with_validation, end.join(lines) + end * last)
    splits = read(with_validation, validation="validation.csv")
    assert pairs(splits.train) == GOOD
    assert len(splits.notes) == (separator != ",")


def test_a_header_alone_has_no_rows(tmp_path: Path) -> None:
    for content in ("text,label", "text,label\n", "text,label\r\n\r\n"):
        write(tmp_path, content)
        with pytest.raises(DataError, match=r"train\.csv has no rows"):
            read(tmp_path)


def test_a_parquet_file_may_have_columns_of_any_type(with_validation: Path) -> None:
    texts, labels = map(list, zip(*GOOD, strict=True))
    for text_type, label in (
        (pyarrow.string(), pyarrow.array(labels).dictionary_encode()),
        (pyarrow.large_string(), pyarrow.array(labels, pyarrow.large_string())),
    ):
        columns = {
            "text": pyarrow.array(texts, text_type),
            "label": label,
            "map": pyarrow.array([[("a", 1)]] * 4, pyarrow.map_(pyarrow.string(), pyarrow.int64())),
            "time": pyarrow.array([1] * 4, pyarrow.duration("s")),
        }
        write_parquet(with_validation, columns)
        assert pairs(read(with_validation, train="train.parquet", validation="validation.csv").train) == GOOD
