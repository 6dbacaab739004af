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
from transformers import PreTrainedModel

from trainer.data.rows import Input, RowRules, Rows, Target
from trainer.data.tokenised_split import Split


@dataclass(frozen=True, kw_only=True)
class Task(RowRules[Input, Target]):
    """One kind of study. ``Input`` and ``Target`` are what one example holds before it becomes numbers."""

    model_class: ClassVar[Any]
    """An ``AutoModelFor…`` of transformers."""
    metric_names: ClassVar[tuple[str, ...]]
    """What ``metrics`` returns."""
    reads_images: ClassVar[bool] = False
    has_new_head: ClassVar[bool] = True
    """A checkpoint for other tasks may lack the head; it is drawn."""
    class_names: tuple[str, ...] = ()
    """Of the study, once its data has been read."""

    @abstractmethod
    def encode(self, rows: Rows[Input, Target], processor: Any, max_length: int) -> Split:
        """Turn examples into numbers with the model's tokenizer or image processor.

        Raises:
            DataError: names file and row.
        """

    def head(self) -> dict[str, Any]:
        """What ``from_pretrained`` is told about the head."""
        return {
            "num_labels": len(self.class_names),
            "id2label": dict(enumerate(self.class_names)),
            "label2id": {name: position for position, name in enumerate(self.class_names)},
        }

    def tokens_per_pass(self, model: PreTrainedModel, tokens: int) -> int:
        """How many of ``tokens`` padded tokens fit into one forward pass, where logits are the largest part."""
        del model
        return tokens

    @abstractmethod
    def losses(self, logits: torch.Tensor, targets: torch.Tensor, label_smoothing: float = 0.0) -> torch.Tensor:
        """The loss of each counted target, in nats (squared error for regression), 0 for others; any shape."""

    def loss_sum(self, logits: torch.Tensor, targets: torch.Tensor, label_smoothing: float = 0.0) -> torch.Tensor:
        """Their sum, for training."""
        return self.losses(logits, targets, label_smoothing).sum()

    @abstractmethod
    def predict(self, logits: torch.Tensor) -> torch.Tensor:
        """What ``metrics`` needs of a batch's logits, on their device, and no more: logits are large."""

    @abstractmethod
    def metrics(
        self, predicted: Sequence[NDArray[Any]], actual: Sequence[NDArray[Any]], loss: float
    ) -> dict[str, float]:
        """Score predictions against targets, batch by batch. Always finite.

        Args:
            loss: the split's, finite.
        """


def class_positions(class_names: Sequence[str], labels: Iterable[str]) -> list[int]:
    """Where each of ``labels`` stands in ``class_names``."""
    positions = {name: position for position, name in enumerate(class_names)}
    return [positions[label] for label in labels]


def joined(batches: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """The rows of all batches together."""
    return np.concatenate(batches)
