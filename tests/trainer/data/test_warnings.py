"""What is odd about data but can be trained on is warned of."""

from pathlib import Path

import pytest

from tests.trainer import tiny
from tests.trainer.data.tables import GOOD, read, write
from trainer.data.warnings import data_warnings
from trainer.tasks.text_classification import TextClassification


def test_odd_data_is_told_in_words(tmp_path: Path) -> None:
    examples = [("same", "x"), ("", "x"), *((f"text {i}", "x") for i in range(60)), ("b", "y"), ("c", "y")]
    tiny.write_csv(tmp_path / "train.csv", examples)
    tiny.write_csv(tmp_path / "validation.csv", [("same", "x"), ("new", "y")])
    tiny.write_csv(tmp_path / "test.csv", [("b", "y"), ("c", "y"), (" ", "x")])
    splits = read(tmp_path, validation="validation.csv", test="test.csv")
    *others, unbalanced = data_warnings(TextClassification(), splits, is_weighted=False)
    assert others == [
        "1 of 64 train texts are empty; the model can only guess there",
        "1 of 3 test texts are empty; the model can only guess there",
        "1 of 2 validation texts also occur in train; validation looks better than it is",
        "2 of 3 test texts also occur in train; test looks better than it is",
    ]
    assert unbalanced == (
        "classes are unbalanced, 62 training rows of 'x' and 2 of 'y', 31 to 1: accuracy can mislead, consider the "
        "metric f1_macro, and training.class_weights: balanced lets each class count as much as another"
    )


@pytest.mark.parametrize(("n_frequent", "is_told"), [(7, False), (8, True)])
def test_weights_are_offered_where_classes_are_unbalanced(
    with_validation: Path, n_frequent: int, is_told: bool
) -> None:
    tiny.write_csv(
        with_validation / "train.csv", [*((f"text {i}", "x") for i in range(n_frequent)), ("b", "y"), ("c", "y")]
    )
    splits = read(with_validation, validation="validation.csv")
    warnings = data_warnings(TextClassification(), splits, is_weighted=False)
    assert [
        warning.endswith("training.class_weights: balanced lets each class count as much as another")
        for warning in warnings
    ] == [True] * is_told
    assert not any(
        "class_weights" in warning for warning in data_warnings(TextClassification(), splits, is_weighted=True)
    )


def test_ordinary_data_warns_of_nothing(tmp_path: Path) -> None:
    tiny.write_csv(tmp_path / "train.csv", GOOD)
    assert data_warnings(TextClassification(), read(tmp_path), is_weighted=False) == []


def test_blanks_around_classes_are_dropped_and_told(with_validation: Path) -> None:
    write(with_validation, "text,label\na,x\nb,x \nc, y\nd,y\n")
    splits = read(with_validation, validation="validation.csv")
    assert splits.class_names == ("x", "y")
    assert data_warnings(TextClassification(), splits, is_weighted=False) == [
        "train.csv: blanks around the label of 2 rows are dropped"
    ]


def test_classes_that_nearly_agree_are_counted(with_validation: Path) -> None:
    write(with_validation, "text,label\na,x\nb,bad news\nc,Bad  News\nd,y\ne,Bad  News\n")
    (warning,) = data_warnings(
        TextClassification(), read(with_validation, validation="validation.csv"), is_weighted=False
    )
    assert warning == (
        "classes differ only in how they are written: 'Bad  News' (2 rows), 'bad news' (1 row); write them alike if "
        "they are one class"
    )


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (("1", "1.0", "0"), "'1' (1 row), '1.0' (1 row)"),
        (("1", "01", "0"), "'01' (1 row), '1' (1 row)"),
        (("caf\u00e9", "cafe\u0301", "x"), "'cafe\\u0301' (1 row), 'caf\u00e9' (1 row)"),
        (("x", "x\u200b", "y"), "'x' (1 row), 'x\\u200b' (1 row)"),
        (("x", "'x'", "y"), "\"'x'\" (1 row), 'x' (1 row)"),
        (("1.1", "11", "-1", "1"), None),
    ],
)
def test_classes_that_are_one_in_another_form_are_told(
    tmp_path: Path, names: tuple[str, ...], told: str | None
) -> None:
    tiny.write_csv(tmp_path / "train.csv", [(f"text {n}", name) for n, name in enumerate(names)])
    tiny.write_csv(tmp_path / "validation.csv", [("new", names[0])])
    splits = read(tmp_path, validation="validation.csv")
    warnings = data_warnings(TextClassification(), splits, is_weighted=False)
    near = [warning for warning in warnings if warning.startswith("classes differ only")]
    assert [f"written: {told};" in warning for warning in near] == [True] * (told is not None)


def test_classes_in_quotes_are_told(with_validation: Path) -> None:
    """A blank before a quote makes the quote a part of the value."""
    write(with_validation, 'text,label\na, "x"\nb, "y"\n')
    write(with_validation, 'text,label\nc, "x"\n', "held.csv")
    *_, warning = data_warnings(TextClassification(), read(with_validation, validation="held.csv"), is_weighted=False)
    assert warning.startswith("classes have quotes in their names, such as '\"x\"' (2 in all)")


def test_lists_written_as_text_are_told(with_validation: Path) -> None:
    tiny.write_csv(
        with_validation / "train.csv", [("p", "x"), ("r", "y"), ("p", "['sport', 'news']"), ("q", "['sport']")]
    )
    (warning,) = data_warnings(
        TextClassification(), read(with_validation, validation="validation.csv"), is_weighted=False
    )
    assert warning.startswith(
        "classes that look like lists, such as \"['sport', 'news']\" (2 in all), count as one class each"
    )


LONE_QUOTES = [
    ('text,label\n"a,x\nb,y\nc" d,x\ne,y\n', 4, 2),
    ('text,label\n"a,x\nb,y\nc",x\ne,y\n', 4, 2),
    ('text,label\ne,y\n"a,x\nb,y\nc",x\n', 4, 2),
    ('label,text\nx,"a\ny,b\nx,c"\ny,e\n', 4, 2),
]


@pytest.mark.parametrize(("content", "n_lines", "n_rows"), LONE_QUOTES)
def test_rows_swallowed_by_a_lone_quote_are_told(
    with_validation: Path, content: str, n_lines: int, n_rows: int
) -> None:
    write(with_validation, content)
    (warning,) = data_warnings(
        TextClassification(), read(with_validation, validation="validation.csv"), is_weighted=False
    )
    assert warning.startswith(
        f"train.csv: {n_lines} lines below the header make {n_rows} rows, since quotes that stand"
    )


def test_texts_of_several_lines_are_nothing_odd(with_validation: Path) -> None:
    write(with_validation, 'text,label\n"Dear all,\n""x"" is, as you know,\nfine",x\n"two\r\nlines",y\n')
    assert (
        data_warnings(TextClassification(), read(with_validation, validation="validation.csv"), is_weighted=False) == []
    )


def test_backslashes_before_quotes_are_told(with_validation: Path) -> None:
    write(with_validation, 'text,label\n"say \\"hi\\" now",x\nb,y\n"in C:\\",x\n')
    (warning,) = read(with_validation, validation="validation.csv").notes
    assert warning.startswith('train.csv: quotes inside texts seem to be written \\", which CSV does not know')
    write(with_validation, 'text,label\n"say ""hi"" now",x\nb,y\n"in C:\\",x\n')
    assert read(with_validation, validation="validation.csv").notes == ()
