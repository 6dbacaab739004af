"""Metrics where they are easy to get wrong: nothing predicted, all alike, spans that do not fit."""

import math

import numpy as np
import pytest
import torch

from trainer.tasks.causal_lm import CausalLm
from trainer.tasks.spans import score_spans, spans_of
from trainer.tasks.text_classification import TextClassification
from trainer.tasks.text_multi_label import MultiLabelClassification
from trainer.tasks.text_regression import TextRegression


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


@pytest.mark.parametrize(
    ("predicted", "actual", "pearson", "spearman"),
    [
        ([1.0, 2.0, 4.0], [1.0, 2.0, 3.0], 0.9819805, 1.0),
        ([2.0, 2.0, 2.0], [1.0, 2.0, 3.0], 0.0, 0.0),
        ([1.0, 2.0, 3.0], [5.0, 5.0, 5.0], 0.0, 0.0),
        ([1e9, 1e9 + 1e-4, 1e9], [1.0, 2.0, 3.0], 0.0, 0.0),
        ([1.0], [2.0], 0.0, 0.0),
    ],
)
def test_correlations_are_finite(predicted: list[float], actual: list[float], pearson: float, spearman: float) -> None:
    halves = ([np.array(predicted[:1]), np.array(predicted[1:])], [np.array(actual[:1]), np.array(actual[1:])])
    scores = TextRegression().metrics(*halves, loss=0.25)
    assert scores["mse"] == 0.25
    assert (scores["pearson"], scores["spearman"]) == pytest.approx((pearson, spearman))
    assert scores["mae"] == pytest.approx(np.abs(np.subtract(predicted, actual)).mean())


def test_several_classes_of_which_none_is_predicted_score_nothing() -> None:
    nothing, actual = np.zeros((4, 3), dtype=bool), np.array([[1.0, 0, 0], [0, 1, 1], [0, 0, 0], [1, 1, 1]])
    scores = MultiLabelClassification().metrics([nothing], [actual], loss=1.0)
    assert scores == {"f1_micro": 0.0, "f1_macro": 0.0, "subset_accuracy": 0.25}


def test_a_perplexity_beyond_numbers_is_capped() -> None:
    assert CausalLm().metrics([], [], loss=2.0) == {"perplexity": math.exp(2.0)}
    assert math.isfinite(CausalLm().metrics([], [], loss=1e6)["perplexity"])


def test_labels_are_smoothed_as_transformers_does() -> None:
    logits_BC = torch.tensor([[2.0, -1.0, 0.5]])
    log_p_C = logits_BC.log_softmax(dim=1)[0]
    expected = -(0.9 * log_p_C[2] + 0.1 * log_p_C.mean())
    assert TextClassification().loss_sum(logits_BC, torch.tensor([2]), label_smoothing=0.1) == pytest.approx(expected)
    yes_no = MultiLabelClassification().loss_sum(logits_BC, torch.tensor([[1.0, 0.0, 0.0]]), label_smoothing=0.2)
    p_C = logits_BC.sigmoid()[0]
    target_C = torch.tensor([0.9, 0.1, 0.1])
    assert yes_no == pytest.approx(float(-(target_C * p_C.log() + (1 - target_C) * (1 - p_C).log()).sum()))
