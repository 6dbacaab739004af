"""What tasks have in common whose rows have one class each.

B = rows of a batch, C = classes, N = rows of a split.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef
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
        return {
            "accuracy": float(accuracy_score(actual_N, predicted_N)),
            # A class that is never predicted counts as 0, which scikit-learn would do with a warning
            "f1_macro": float(f1_score(actual_N, predicted_N, average="macro", zero_division=0)),
            "matthews": float(matthews_corrcoef(actual_N, predicted_N)),
        }
