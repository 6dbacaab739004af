"""What tasks have in common whose rows have one class each.

B = rows of a batch, C = classes, N = rows of a split.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from trainer.data.rows import Input, Rows
from trainer.tasks.task import Task, class_positions, joined


class OneClassTask(Task[Input, str]):
    """A task whose targets are names of one class each."""

    metric_names = ("accuracy", "f1_macro", "matthews")
    min_classes = 2
    weighs_classes = True

    def classes_of(self, target: str) -> Iterable[str]:
        return (target,)

    def stratum(self, target: str) -> str:
        return target

    def targets_of(self, rows: Rows[Input, str]) -> NDArray[np.int64]:
        """Return the position ``[N]`` of each row's class among ``class_names``."""
        return np.asarray(class_positions(self.class_names, rows.targets), dtype=np.int64)

    def head(self) -> dict[str, Any]:
        return super().head() | {"problem_type": "single_label_classification"}

    def losses(
        self,
        logits: torch.Tensor,
        targets: torch.Tensor,
        label_smoothing: float = 0.0,
        class_weights_C: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the cross-entropy in nats ``[B]`` of each row: logits ``[B, C]``, targets ``[B]``."""
        return functional.cross_entropy(
            logits, targets, weight=class_weights_C, reduction="none", label_smoothing=label_smoothing
        )

    def predict(self, logits: torch.Tensor) -> torch.Tensor:
        """Return the likeliest class ``[B]`` of each row."""
        return logits.argmax(dim=-1)

    def metrics(
        self, predicted: Sequence[NDArray[Any]], actual: Sequence[NDArray[Any]], loss: float
    ) -> dict[str, float]:
        """Return accuracy, macro F1 and Matthews' correlation, as scikit-learn computes them."""
        del loss
        predicted_N, actual_N = joined(predicted), joined(actual)
        classes, positions = np.unique(np.concatenate([actual_N, predicted_N]), return_inverse=True)
        in_actual_N, in_predicted_N = np.split(positions, 2)
        is_right_N = in_actual_N == in_predicted_N
        actual_C, predicted_C, right_C = (
            np.bincount(rows, minlength=len(classes)) for rows in (in_actual_N, in_predicted_N, in_actual_N[is_right_N])
        )
        return {
            "accuracy": float(is_right_N.mean()),
            # A class that is never predicted counts as 0
            "f1_macro": float((2 * right_C / (actual_C + predicted_C)).mean()),
            "matthews": matthews_correlation(actual_C, predicted_C, int(right_C.sum())),
        }


def matthews_correlation(actual_C: NDArray[np.int64], predicted_C: NDArray[np.int64], n_right: int) -> float:
    """Return Matthews' correlation for several classes (Gorodkin 2004); 0 where all rows are of one class, or are taken
    for one.

    Args:
        actual_C: rows of each class.
        predicted_C: rows that are taken for each class.
        n_right: rows that are taken for their own.
    """
    actual, predicted = actual_C.astype(np.float64), predicted_C.astype(np.float64)
    n_rows = actual.sum()
    covariance = n_right * n_rows - actual @ predicted
    variances = (n_rows**2 - predicted @ predicted) * (n_rows**2 - actual @ actual)
    return float(covariance / np.sqrt(variances)) if variances else 0.0
