"""Metrics where they are easy to get wrong: nothing predicted, all alike, spans that do not fit."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

from trainer.tasks.causal_lm import TextLm
from trainer.tasks.text_classification import TextClassification
from trainer.tasks.text_multi_label import MultiLabelClassification, f1_scores
from trainer.tasks.text_regression import TextRegression


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
    assert TextLm().metrics([], [], loss=2.0) == {"perplexity": math.exp(2.0)}
    assert math.isfinite(TextLm().metrics([], [], loss=1e6)["perplexity"])


def test_labels_are_smoothed_as_transformers_does() -> None:
    logits_BC = torch.tensor([[2.0, -1.0, 0.5]])
    log_p_C = logits_BC.log_softmax(dim=1)[0]
    expected = -(0.9 * log_p_C[2] + 0.1 * log_p_C.mean())
    assert TextClassification().loss_sum(logits_BC, torch.tensor([2]), label_smoothing=0.1) == pytest.approx(expected)
    yes_no = MultiLabelClassification().loss_sum(logits_BC, torch.tensor([[1.0, 0.0, 0.0]]), label_smoothing=0.2)
    p_C = logits_BC.sigmoid()[0]
    target_C = torch.tensor([0.9, 0.1, 0.1])
    assert yes_no == pytest.approx(float(-(target_C * p_C.log() + (1 - target_C) * (1 - p_C).log()).sum()))


def test_metrics_of_a_model_that_sees_one_class_are_finite() -> None:
    scores = TextClassification().metrics([np.zeros(4, dtype=np.int64)], [np.array([0, 1, 2, 2])], loss=1.0)
    assert scores == pytest.approx({"accuracy": 0.25, "f1_macro": 0.4 / 3, "matthews": 0.0})


def test_one_class_that_is_never_predicted_scores_nothing() -> None:
    actual_NC = np.array([[1.0]] + [[0.0]] * 9)
    scores = MultiLabelClassification(class_names=("spam",)).metrics([np.zeros((10, 1), dtype=bool)], [actual_NC], 0.1)
    assert scores == {"f1_micro": 0.0, "f1_macro": 0.0, "subset_accuracy": 0.9}
    right = MultiLabelClassification(class_names=("spam",)).metrics([actual_NC > 0], [actual_NC], 0.1)
    assert right == {"f1_micro": 1.0, "f1_macro": 1.0, "subset_accuracy": 1.0}


@pytest.mark.parametrize("n_classes", [2, 5])
def test_f1_of_several_classes_is_that_of_scikit_learn(n_classes: int) -> None:
    generator = np.random.default_rng(n_classes)
    actual, predicted = (generator.integers(0, 2, (40, n_classes)) for _ in range(2))
    actual[:, 0] = predicted[:, 0] = 0
    expected = [f1_score(actual, predicted, average=average, zero_division=0) for average in ("micro", "macro")]
    assert f1_scores(actual, predicted) == pytest.approx(expected)


@pytest.mark.filterwarnings("ignore:A single label was found")
@given(rows=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1))
def test_metrics_of_classes_are_those_of_scikit_learn(rows: list[tuple[int, int]]) -> None:
    actual, predicted = (np.array(column) for column in zip(*rows, strict=True))
    scores = TextClassification().metrics([predicted], [actual], loss=1.0)
    assert scores == {
        "accuracy": accuracy_score(actual, predicted),
        "f1_macro": f1_score(actual, predicted, average="macro", zero_division=0),
        "matthews": matthews_corrcoef(actual, predicted),
    }
