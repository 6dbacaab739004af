"""What a task decides: which rows are good, which head the model gets, its loss and its metrics.

B = rows of a batch, T = tokens of its longest row, C = classes.
"""

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from trainer.data.rows import Input, RowRules, Rows, Target
from trainer.data.tokenised_split import Split


@dataclass(frozen=True, kw_only=True)
class Task(RowRules[Input, Target]):
    """One kind of study. ``Input`` and ``Target`` are what one example holds before it becomes numbers."""

    model_class: ClassVar[Any]
    """An ``AutoModelFor…`` class of transformers, which opens models for the task."""
    metric_names: ClassVar[tuple[str, ...]]
    """Names of the metrics that ``metrics`` returns."""
    reads_images: ClassVar[bool] = False
    """Whether the model reads images, and has an image processor instead of a tokenizer."""
    has_new_head: ClassVar[bool] = True
    """Whether a pretrained model may lack the head, which is then drawn at random."""
    weighs_classes: ClassVar[bool] = False
    """Whether classes may weigh differently in the training loss: where each target is one of them."""
    class_names: tuple[str, ...] = ()
    """Names of the classes of the study, once its data has been read."""

    @property
    def default_length(self) -> int:
        """Tokens of the longest example where a study asks for no length."""
        return 128

    @abstractmethod
    def encode(self, rows: Rows[Input, Target], processor: Any, max_length: int) -> Split:
        """Turn examples into numbers with the model's tokenizer or image processor.

        Raises:
            DataError: a row cannot be encoded; the message names file and row.
        """

    def head(self) -> dict[str, Any]:
        """Return the arguments by which ``from_pretrained`` makes the head."""
        return {
            "num_labels": len(self.class_names),
            "id2label": dict(enumerate(self.class_names)),
            "label2id": {name: position for position, name in enumerate(self.class_names)},
        }

    @abstractmethod
    def losses(
        self,
        logits: torch.Tensor,
        targets: torch.Tensor,
        label_smoothing: float = 0.0,
        class_weights_C: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the loss of each counted target, in nats (squared error for regression), and 0 for others; of any
        shape.

        Args:
            class_weights_C: what the loss of a target of each class is multiplied by; only where ``weighs_classes``.
        """

    def loss_sum(
        self,
        logits: torch.Tensor,
        targets: torch.Tensor,
        label_smoothing: float = 0.0,
        class_weights_C: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the sum of ``losses``, for training."""
        return self.losses(logits, targets, label_smoothing, class_weights_C).sum()

    @abstractmethod
    def predict(self, logits: torch.Tensor) -> torch.Tensor:
        """Return what ``metrics`` needs of a batch's logits, on their device, and no more: logits are large."""

    @abstractmethod
    def metrics(
        self, predicted: Sequence[NDArray[Any]], actual: Sequence[NDArray[Any]], loss: float
    ) -> dict[str, float]:
        """Score the predictions of all batches against their targets; every score is finite.

        Args:
            loss: the loss of the split, finite.
        """


def class_positions(class_names: Sequence[str], labels: Iterable[str]) -> list[int]:
    """Return the position in ``class_names`` of each of ``labels``."""
    positions = {name: position for position, name in enumerate(class_names)}
    return [positions[label] for label in labels]


def joined(batches: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Return the rows of all batches in one array."""
    return np.concatenate(batches)
