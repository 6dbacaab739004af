"""The validation loss, defined here and nowhere else.

The mean over counted targets of cross-entropy in nats, over the whole split, with the model in eval mode
and without label smoothing. Logits are fp32 and the mean is taken in fp64 on the host, so that neither
batch size nor padding moves it by more than the rounding of a forward pass.

N = rows of the split, C = classes.
"""

import numpy as np
import torch
from transformers import PreTrainedModel

from trainer.device import Precision
from trainer.tasks import text_classification as task
from trainer.tokenise import TokenisedSplit

TOKENS = 16_384
"""Padded tokens of one forward pass: 32 rows of 512. No gradients, so little memory."""


@torch.no_grad()  # not inference_mode: what a model caches must stay usable in training
def evaluate(
    model: PreTrainedModel, split: TokenisedSplit, precision: Precision, *, tokens: int = TOKENS
) -> dict[str, float]:
    """Score ``model`` on ``split``. Leaves the model in eval mode.

    Args:
        tokens: padded tokens of one forward pass; memory and speed, not the result.

    Returns:
        ``loss`` in nats, which is not finite for a model that diverged, and the task's metrics.
    """
    model.eval()
    # Longest first: no padding to speak of, and running out of memory shows at once
    order_N = np.argsort(-split.lengths_N, kind="stable")
    logits, labels = [], []
    start = 0
    while start < len(order_N):
        n_rows = max(1, tokens // int(split.lengths_N[order_N[start]]))
        batch = task.collate(split, order_N[start : start + n_rows], model.device)
        logits.append(task.forward(model, batch, precision))
        labels.append(batch.labels_B)
        start += n_rows
    logits_NC = torch.cat(logits).cpu().double()  # on the host: MPS has no fp64
    labels_N = torch.cat(labels).cpu()
    loss = float(task.loss_sum(logits_NC, labels_N)) / len(split)
    return {"loss": loss, **task.metrics(logits_NC, labels_N)}
