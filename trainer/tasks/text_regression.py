"""Gives a number to each text, learnt as it stands: scale labels yourself where they are far from 0.

B = rows of a batch, N = rows of a split.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional
from transformers import AutoModelForSequenceClassification

from spezia.common.lazy_module import LazyModule
from trainer.data.label_and_text_checks import check_number, check_text_or_pair, is_blank
from trainer.data.rows import Rows
from trainer.data.tokenise import Text, encode_texts
from trainer.data.tokenised_split import TokenisedSplit
from trainer.tasks.task import Task, joined

scipy_stats = LazyModule("scipy.stats")


class TextRegression(Task[Text, float]):
    """Examples are texts or pairs of texts, each with its number."""

    model_class: ClassVar[Any] = AutoModelForSequenceClassification
    reads_numbers = True
    metric_names = ("mse", "mae", "pearson", "spearman")

    def check_row(self, row: Mapping[str, Any]) -> tuple[Text, float]:
        return check_text_or_pair(row), check_number(row["label"])

    def is_empty(self, example: Text) -> bool:
        return is_blank(example)

    def encode(self, rows: Rows[Text, float], processor: Any, max_length: int) -> TokenisedSplit:
        return encode_texts(rows.inputs, np.asarray(rows.targets, dtype=np.float32), processor, max_length)

    def head(self) -> dict[str, Any]:
        return {"num_labels": 1, "problem_type": "regression"}

    def losses(
        self,
        logits: torch.Tensor,
        targets: torch.Tensor,
        label_smoothing: float = 0.0,
        class_weights_C: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the squared error ``[B]`` of each row; numbers cannot be smoothed, and the contract refuses it."""
        del label_smoothing, class_weights_C
        return functional.mse_loss(logits.squeeze(-1), targets, reduction="none")

    def predict(self, logits: torch.Tensor) -> torch.Tensor:
        return logits.squeeze(-1)

    def metrics(
        self, predicted: Sequence[NDArray[Any]], actual: Sequence[NDArray[Any]], loss: float
    ) -> dict[str, float]:
        """Return mean squared and absolute error, Pearson's and Spearman's correlation."""
        predicted_N, actual_N = joined(predicted).astype(np.float64), joined(actual).astype(np.float64)
        is_defined = _varies(predicted_N) and _varies(actual_N)
        return {
            "mse": loss,
            "mae": float(np.abs(predicted_N - actual_N).mean()),
            # Not defined where all predictions, or all labels, are equal: then no correlation is found
            "pearson": float(scipy_stats.pearsonr(predicted_N, actual_N).statistic) if is_defined else 0.0,
            "spearman": float(scipy_stats.spearmanr(predicted_N, actual_N).statistic) if is_defined else 0.0,
        }


def _varies(values_N: NDArray[np.float64]) -> bool:
    """By more than the rounding of fp64, below which a correlation is noise."""
    return bool(np.ptp(values_N) > 1e-12 * np.abs(values_N).max())
