"""Computes the validation loss, which is defined here and nowhere else.

It is the mean over counted targets of cross-entropy in nats (of binary cross-entropy where a row has several classes,
of squared error for regression), over the whole split, with the model in eval mode and without label smoothing. Logits
are fp32 and the mean is taken in fp64 on the host, so that neither batch size nor padding moves it by more than the
rounding of a forward pass.

B = rows of a batch.
"""

import math
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from trainer.data.device_copies import copies_on_host
from trainer.data.tokenised_split import Split
from trainer.model.device import Precision, scoring_tokens
from trainer.model.memory_hints import MemoryHints
from trainer.model.micro_batch_size import MicroBatchSize
from trainer.model.over_logits import over_logits
from trainer.tasks.registry import AnyTask


@torch.no_grad()  # not inference_mode: what a model caches must stay usable in training
def evaluate(
    model: PreTrainedModel,
    task: AnyTask,
    split: Split,
    precision: Precision,
    *,
    tokens: int | None = None,
    hints: MemoryHints | None = None,
    memory_key: str = "",
) -> dict[str, float]:
    """Score ``model`` on ``split``, and leave the model in eval mode.

    Args:
        tokens: padded tokens of one forward pass, at most; ``None``: what suits the device. It decides the speed,
            not the result.
        hints: what earlier evaluations found out about memory.
        memory_key: what decides how much fits, for ``hints``.

    Returns:
        ``loss`` in nats and the task's metrics; ``loss`` alone, not finite, of a model that diverged.
    """
    model.eval()
    micro_batch = MicroBatchSize(tokens or scoring_tokens(model.device), hints, memory_key)

    def score(logits: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        return task.losses(logits, targets).flatten(), task.predict(logits), targets

    def score_rows(rows_B: NDArray[np.int64]) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        return over_logits(score, model, split.collate(rows_B, model.device), precision)

    scored = list(chain.from_iterable(micro_batch.run_longest_first(score_rows, split.lengths_N)))
    copies = copies_on_host(tensor for piece in scored for tensor in piece)
    losses, predicted, actual = copies[::3], copies[1::3], copies[2::3]
    loss = float(torch.cat(losses).double().sum()) / int(split.n_targets_N.sum())
    if not math.isfinite(loss):
        return {"loss": loss}
    metrics = task.metrics([piece.numpy() for piece in predicted], [piece.numpy() for piece in actual], loss)
    return {"loss": loss, **metrics}
