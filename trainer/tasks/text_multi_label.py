"""Gives any number of classes to each text: each class is a question of yes or no.

B = rows of a batch, C = classes, N = rows of a split.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional
from transformers import AutoModelForSequenceClassification

from trainer.data.label_and_text_checks import check_label, check_text_or_pair, is_blank
from trainer.data.rows import BadRow, Rows
from trainer.data.tokenise import Text, encode_texts
from trainer.data.tokenised_split import TokenisedSplit
from trainer.tasks.task import Task, class_positions, joined


@dataclass(frozen=True, kw_only=True)
class MultiLabelClassification(Task[Text, tuple[str, ...]]):
    """Examples are texts or pairs of texts, each with the names of its classes, of which there may be none."""

    model_class: ClassVar[Any] = AutoModelForSequenceClassification
    metric_names = ("f1_micro", "f1_macro", "subset_accuracy")
    min_classes = 1
    separator: str | None = None
    """What stands between the classes of a text; ``None``: labels are lists."""

    def check_row(self, row: Mapping[str, Any]) -> tuple[Text, tuple[str, ...]]:
        labels = row["label"]
        if self.separator is not None and isinstance(labels, str):
            labels = [part.strip() for part in labels.split(self.separator) if part.strip()]
        if not isinstance(labels, list):
            raise BadRow(f"the label {labels!r} is no list of classes, as other rows have; write a list in every row")
        if _is_hot(labels) and (len(labels) > 2 or not all(isinstance(label, int) for label in labels)):
            raise BadRow(
                f"the label {labels!r} seems to have 0 or 1 for each class; list the names of those that it has"
            )
        names = tuple(check_label(label) for label in labels)
        if len(set(names)) < len(names):
            raise BadRow(f"a class is listed twice in {labels!r}; list each once")
        return check_text_or_pair(row), names

    def classes_of(self, target: tuple[str, ...]) -> Iterable[str]:
        return target

    def odd_classes(self, names: Sequence[str]) -> list[str]:
        if set(names) != {"0", "1"}:
            return []
        note = (
            "the classes are called 0 and 1: if labels have one 0 or 1 for each class, list the names of those that a "
            "text has instead, since every text has both as it stands"
        )
        return [note]

    def is_empty(self, example: Text) -> bool:
        return is_blank(example)

    def encode(self, rows: Rows[Text, tuple[str, ...]], processor: Any, max_length: int) -> TokenisedSplit:
        targets_NC = np.zeros((len(rows), len(self.class_names)), dtype=np.float32)
        for row, names in enumerate(rows.targets):
            targets_NC[row, class_positions(self.class_names, names)] = 1.0
        return encode_texts(rows.inputs, targets_NC, processor, max_length)

    def head(self) -> dict[str, Any]:
        return super().head() | {"problem_type": "multi_label_classification"}

    def losses(
        self,
        logits: torch.Tensor,
        targets: torch.Tensor,
        label_smoothing: float = 0.0,
        class_weights_C: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the binary cross-entropy in nats ``[B, C]`` of each row and class.

        Smoothing moves both answers towards one half, as in Keras' ``BinaryCrossentropy``.
        """
        del class_weights_C
        smoothed_BC = targets * (1.0 - label_smoothing) + 0.5 * label_smoothing
        return functional.binary_cross_entropy_with_logits(logits, smoothed_BC, reduction="none")

    def predict(self, logits: torch.Tensor) -> torch.Tensor:
        """Return whether the probability of each class is above one half, ``[B, C]``."""
        return logits > 0.0

    def metrics(
        self, predicted: Sequence[NDArray[Any]], actual: Sequence[NDArray[Any]], loss: float
    ) -> dict[str, float]:
        """Return F1 over all answers, the mean F1 of the classes, and the share of texts with every class right."""
        del loss
        predicted_NC, actual_NC = joined(predicted).astype(np.int64), joined(actual).astype(np.int64)
        f1_micro, f1_macro = f1_scores(actual_NC, predicted_NC)
        is_right_N = (predicted_NC == actual_NC).all(axis=1)
        return {"f1_micro": f1_micro, "f1_macro": f1_macro, "subset_accuracy": float(is_right_N.mean())}


def _is_hot(labels: Sequence[Any]) -> bool:
    """Whether there are numbers 0 and 1 alone, as in lists that have one of the two for each class."""
    return len(labels) > 1 and all(isinstance(label, int | float) and label in (0, 1) for label in labels)


def f1_scores(actual_NC: NDArray[np.int64], predicted_NC: NDArray[np.int64]) -> tuple[float, float]:
    """Return micro and macro F1 of yes (1) and no (0); 0 where nothing is predicted or nothing is there.

    As scikit-learn computes them, which takes a single class for two, "yes" and "no", and calls a model good that never
    says yes.
    """
    n_right_C = (actual_NC * predicted_NC).sum(axis=0)
    n_said_C = actual_NC.sum(axis=0) + predicted_NC.sum(axis=0)
    f1_C = 2 * n_right_C / np.maximum(1, n_said_C)
    return float(2 * n_right_C.sum() / max(1, n_said_C.sum())), float(f1_C.mean())
