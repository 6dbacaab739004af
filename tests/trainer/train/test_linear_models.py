"""The linear models of the probe are those of scikit-learn."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from trainer.train.linear_models import predict_classes, predict_numbers, predict_yes_or_no

CHANCE = np.random.default_rng(0)
HIDDEN = CHANCE.normal(size=(20, 50))
SEEN, NEW = ((CHANCE.normal(size=(n, 20)) @ HIDDEN).astype(np.float32) for n in (300, 200))
SEEN[:, 0], NEW[:, 0] = 0.3, 0.4  # a feature that is always the same tells nothing
DIRECTIONS = CHANCE.normal(size=(50, 5))
SCORES = (SEEN @ DIRECTIONS) + 3 * CHANCE.normal(size=(300, 5))


def reference(model: Any, targets: NDArray[Any]) -> NDArray[Any]:
    predicted: NDArray[Any] = make_pipeline(StandardScaler(), model).fit(SEEN, targets).predict(NEW)
    return predicted


@pytest.mark.parametrize("names", [[3, 7], [1, 2, 4, 8, 16], ["a", "b", "c"]], ids=["two", "five", "texts"])
def test_classes_are_told_as_by_logistic_regression(names: list[Any]) -> None:
    targets = np.array(names)[SCORES[:, : len(names)].argmax(axis=1)]
    predicted = predict_classes(SEEN, targets, NEW)
    assert set(predicted) == set(names)
    assert np.mean(predicted == reference(LogisticRegression(max_iter=1000), targets)) > 0.98


def test_several_classes_are_told_as_by_a_logistic_regression_each() -> None:
    targets = (SCORES > 0).astype(int)
    targets[:, 0], targets[:, 1] = 0, 1  # in no example, in all of them
    predicted = predict_yes_or_no(SEEN, targets, NEW)
    expected = reference(OneVsRestClassifier(LogisticRegression(max_iter=1000)), targets[:, 2:])
    assert np.mean(predicted[:, 2:] == expected) > 0.98
    assert (predicted[:, 0] == 0).all()
    assert (predicted[:, 1] == 1).all()
    assert (predict_yes_or_no(SEEN, targets[:, 2:3], NEW) == predicted[:, 2:3]).mean() > 0.98


def test_numbers_are_told_as_by_ridge_regression() -> None:
    expected = reference(Ridge(), SCORES[:, 0])
    np.testing.assert_allclose(predict_numbers(SEEN, SCORES[:, 0], NEW), expected, atol=1e-2 * np.abs(expected).max())
