"""Spans are found as the script of CoNLL-2003 finds them."""

import pytest

from trainer.tasks.spans import marked_otherwise, score_spans, spans_of


@pytest.mark.parametrize(
    ("tags", "spans"),
    [
        ("O O O", set()),
        ("B-X I-X O", {("X", 0, 2)}),
        ("B-X B-X I-X", {("X", 0, 1), ("X", 1, 3)}),
        ("O I-X I-X", {("X", 1, 3)}),  # conlleval begins a span here
        ("B-X I-Y I-Y", {("X", 0, 1), ("Y", 1, 3)}),
        ("I-X B-X", {("X", 0, 1), ("X", 1, 2)}),
        ("B-X", {("X", 0, 1)}),
        ("PER PER O LOC", {("PER", 0, 2), ("LOC", 3, 4)}),
        ("B-a-b I-a-b", {("a-b", 0, 2)}),
        ("E-mail O", {("mail", 0, 1)}),  # as seqeval, which looks at the first letter alone
        ("b-X i-X B-X", {("X", 0, 2), ("X", 2, 3)}),
        ("", set()),
    ],
)
def test_spans_are_those_of_conlleval(tags: str, spans: set[tuple[str, int, int]]) -> None:
    assert spans_of(tags.split()) == spans


@pytest.mark.parametrize("letters", ["BIES", "BILU", "BMES"])
@pytest.mark.parametrize(
    ("tags", "spans"),
    [
        ("B-X I-X E-X O", {("X", 0, 3)}),
        ("S-X S-X B-X E-X", {("X", 0, 1), ("X", 1, 2), ("X", 2, 4)}),
        ("B-X E-X I-X", {("X", 0, 2), ("X", 2, 3)}),
        ("E-X E-X O E-Y", {("X", 0, 1), ("X", 1, 2), ("Y", 3, 4)}),
        ("B-X E-Y", {("X", 0, 1), ("Y", 1, 2)}),
        ("S-X I-X E-X", {("X", 0, 1), ("X", 1, 3)}),
    ],
)
def test_spans_whose_ends_are_marked_are_those_of_seqeval(
    letters: str, tags: str, spans: set[tuple[str, int, int]]
) -> None:
    written = tags.translate(str.maketrans("BIES", letters))
    assert spans_of(written.split()) == spans


@pytest.mark.parametrize(
    ("tags", "others"),
    [
        (["O", "B-X", "I-X"], []),
        (["O", "B_X", "I_X", "B_Y"], ["B_X"]),
        (["O", "X-B", "X-I"], ["X-B"]),
        (["O", "B_CELL", "T_CELL", "VITAMIN-B"], []),
    ],
)
def test_marks_that_are_not_read_are_found(tags: list[str], others: list[str]) -> None:
    assert marked_otherwise(tags) == others


def test_a_span_counts_when_type_and_both_ends_are_right() -> None:
    actual = ["B-X", "I-X", "O", "B-Y", "O", "B-X"]
    predicted = ["B-X", "I-X", "O", "B-X", "O", "O"]
    scores = score_spans([(predicted, actual), (["B-Z"], ["B-Z"])])
    # 3 predicted, 4 there, 2 right
    assert scores == pytest.approx({"span_precision": 2 / 3, "span_recall": 2 / 4, "span_f1": 4 / 7})


def test_no_span_at_all_scores_nothing() -> None:
    assert set(score_spans([(["O"], ["O"])]).values()) == {0.0}
    assert set(score_spans([(["B-X"], ["O"])]).values()) == {0.0}
