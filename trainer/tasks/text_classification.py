"""One class per text.

B = rows of a batch, C = classes, N = rows of a split.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef
from torch.nn import functional
from transformers import AutoModelForSequenceClassification

from trainer.data.row_checks import check_label, check_text
from trainer.data.rows import Rows
from trainer.data.tokenise import encode_texts
from trainer.data.tokenised_split import TokenisedSplit
from trainer.tasks.task import Task, class_positions, joined


class TextClassification(Task[str, str]):
    """An example is a text and the name of its class."""

    model_class: ClassVar[Any] = AutoModelForSequenceClassification
    metric_names = ("accuracy", "f1_macro", "matthews")
    min_classes = 2

    def check_row(self, row: Mapping[str, Any]) -> tuple[str, str]:
        return check_text(row["text"]), check_label(row["label"])

    def classes_of(self, target: str) -> Iterable[str]:
        return (target,)

    def stratum(self, target: str) -> str:
        return target

    def is_empty(self, example: str) -> bool:
        return not example.strip()

    def encode(self, rows: Rows[str, str], processor: Any, max_length: int) -> TokenisedSplit:
        targets_N = np.asarray(class_positions(self.class_names, rows.targets), dtype=np.int64)
        return encode_texts(rows.inputs, targets_N, processor, max_length)

    def head(self) -> dict[str, Any]:
        return super().head() | {"problem_type": "single_label_classification"}

    def losses(self, logits: torch.Tensor, targets: torch.Tensor, label_smoothing: float = 0.0) -> torch.Tensor:
        return class_losses(logits, targets, label_smoothing)

    def predict(self, logits: torch.Tensor) -> torch.Tensor:
        return logits.argmax(dim=-1)

    def metrics(
        self, predicted: Sequence[NDArray[Any]], actual: Sequence[NDArray[Any]], loss: float
    ) -> dict[str, float]:
        del loss
        return class_metrics(joined(predicted), joined(actual))


def class_losses(logits_BC: torch.Tensor, targets_B: torch.Tensor, label_smoothing: float) -> torch.Tensor:
    """Cross-entropy of each row in nats."""
    return functional.cross_entropy(logits_BC, targets_B, reduction="none", label_smoothing=label_smoothing)


def class_metrics(predicted_N: NDArray[np.int64], actual_N: NDArray[np.int64]) -> dict[str, float]:
    """Accuracy, macro F1 and Matthews' correlation, as scikit-learn computes them."""
    return {
        "accuracy": float(accuracy_score(actual_N, predicted_N)),
        # A class that is never predicted counts as 0, which scikit-learn would do with a warning
        "f1_macro": float(f1_score(actual_N, predicted_N, average="macro", zero_division=0)),
        "matthews": float(matthews_corrcoef(actual_N, predicted_N)),
    }
