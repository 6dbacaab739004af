"""Spans are found as the script of CoNLL-2003 finds them."""

import pytest

from trainer.tasks.spans import score_spans, spans_of


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
        ("", set()),
    ],
)
def test_spans_are_those_of_conlleval(tags: str, spans: set[tuple[str, int, int]]) -> None:
    assert spans_of(tags.split()) == spans


def test_a_span_counts_when_type_and_both_ends_are_right() -> None:
    actual = ["B-X", "I-X", "O", "B-Y", "O", "B-X"]
    predicted = ["B-X", "I-X", "O", "B-X", "O", "O"]
    scores = score_spans([(predicted, actual), (["B-Z"], ["B-Z"])])
    # 3 predicted, 4 there, 2 right
    assert scores == pytest.approx({"span_precision": 2 / 3, "span_recall": 2 / 4, "span_f1": 4 / 7})


def test_no_span_at_all_scores_nothing() -> None:
    assert set(score_spans([(["O"], ["O"])]).values()) == {0.0}
    assert set(score_spans([(["B-X"], ["O"])]).values()) == {0.0}
