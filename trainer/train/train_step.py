"""Computes the gradients of one optimizer step, from as many micro-batches as memory needs.

B = rows of the effective batch.
"""

from functools import reduce

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from trainer.data.class_weights import ClassWeights
from trainer.data.tokenised_split import Batch, Split
from trainer.model.device import Precision
from trainer.model.dropout_masks import dropout_of
from trainer.model.over_logits import over_logits
from trainer.tasks.registry import AnyTask


def accumulate_gradients(
    model: PreTrainedModel,
    task: AnyTask,
    split: Split,
    rows_B: NDArray[np.int64],
    precision: Precision,
    *,
    micro_batch_size: int,
    label_smoothing: float = 0.0,
    class_weights: ClassWeights | None = None,
) -> torch.Tensor:
    """Add the gradients of the mean loss over the counted targets of ``rows_B`` to ``model``.

    Each micro-batch contributes its sum divided by the targets of the whole batch, so its size changes nothing but
    memory, unequal remainders included.

    Args:
        micro_batch_size: rows that go through the model at once.
        class_weights: weights of the targets, whose sum over the whole batch the weighted losses are then divided by,
            as in PyTorch's ``CrossEntropyLoss``; ``None``: all targets weigh the same.

    Returns:
        The mean training loss of the batch in nats, without label smoothing and class weights; a scalar on the device:
        reading it would wait.
    """
    n_targets, divisor = divisors(split, rows_B, class_weights)
    loss = torch.zeros((), device=model.device)
    for start in range(0, len(rows_B), micro_batch_size):
        batch = split.collate(rows_B[start : start + micro_batch_size], model.device)
        loss += add_gradients(
            model,
            task,
            batch,
            precision,
            n_targets=n_targets,
            divisor=divisor,
            label_smoothing=label_smoothing,
            class_weights=class_weights,
        )
    return loss


def divisors(split: Split, rows_B: NDArray[np.int64], class_weights: ClassWeights | None) -> tuple[float, float]:
    """Return the number of targets of the batch ``rows_B``, and their weight, by which its loss is divided."""
    n_targets = float(split.n_targets_N[rows_B].sum())
    return n_targets, n_targets if class_weights is None else float(class_weights.of_rows_N[rows_B].sum())


def add_gradients(
    model: PreTrainedModel,
    task: AnyTask,
    batch: Batch,
    precision: Precision,
    *,
    n_targets: float | torch.Tensor,
    divisor: float | torch.Tensor,
    label_smoothing: float,
    class_weights: ClassWeights | None,
) -> torch.Tensor:
    """Add the gradients of a micro-batch to ``model``, and return its part of what ``accumulate_gradients`` returns.

    Args:
        n_targets: number of targets of the whole batch; this and ``divisor`` are numbers, or scalars on the device.
        divisor: their weight together.
    """
    weights_C = None if class_weights is None else class_weights.of_classes_C

    def learn(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        loss = task.loss_sum(logits, targets, label_smoothing, weights_C) / divisor
        torch.autograd.backward(loss)
        if label_smoothing or class_weights is not None:  # what is told is to compare with the validation loss
            loss = task.loss_sum(logits.detach(), targets) / n_targets
        return loss.detach()

    with dropout_of(model, batch):
        return reduce(torch.add, over_logits(learn, model, batch, precision))
