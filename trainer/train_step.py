"""One optimizer step's gradients, from as many micro-batches as memory needs.

B = rows of the effective batch.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from trainer.device import Precision
from trainer.tasks import text_classification as task
from trainer.tokenise import TokenisedSplit


def accumulate_gradients(
    model: PreTrainedModel,
    split: TokenisedSplit,
    rows_B: NDArray[np.int64],
    precision: Precision,
    *,
    micro_batch_size: int,
) -> torch.Tensor:
    """Add the gradients of the mean loss over ``rows_B`` to ``model``.

    Each micro-batch contributes its sum divided by the targets of the whole batch, so its size changes
    nothing but memory, unequal remainders included.

    Returns:
        The mean training loss of the batch in nats, a scalar on the device: reading it would wait.
    """
    loss = torch.zeros((), device=model.device)
    for start in range(0, len(rows_B), micro_batch_size):
        batch = task.collate(split, rows_B[start : start + micro_batch_size], model.device)
        micro_loss = task.loss_sum(task.forward(model, batch, precision), batch.labels_B) / len(rows_B)
        torch.autograd.backward(micro_loss)
        loss += micro_loss.detach()
    return loss
