"""The validation loss, defined here and nowhere else.

The mean over counted targets of cross-entropy in nats (of binary cross-entropy where a row has several
classes, of squared error for regression), over the whole split, with the model in eval mode and without label
smoothing. Logits are fp32 and the mean is taken in fp64 on the host, so that neither batch size nor padding
moves it by more than the rounding of a forward pass.

N = rows of the split.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from trainer.data.tokenised_split import Split
from trainer.model.device import Precision, scoring_tokens
from trainer.model.forward import forward
from trainer.tasks.registry import AnyTask
from trainer.train.micro_batch_size import MicroBatchSize


@torch.no_grad()  # not inference_mode: what a model caches must stay usable in training
def evaluate(
    model: PreTrainedModel, task: AnyTask, split: Split, precision: Precision, *, tokens: int | None = None
) -> dict[str, float]:
    """Score ``model`` on ``split``. Leaves the model in eval mode.

    Args:
        tokens: padded tokens of one forward pass, at most; ``None``: what suits the device. Speed, not the result.

    Returns:
        ``loss`` in nats and the task's metrics; ``loss`` alone, not finite, of a model that diverged.
    """
    model.eval()
    micro_batch = MicroBatchSize(task.tokens_per_pass(model, tokens or scoring_tokens(model.device)))
    # Longest first: no padding to speak of, and running out of memory shows at once
    left_N = np.argsort(-split.lengths_N, kind="stable")
    losses: list[torch.Tensor] = []
    predicted: list[torch.Tensor] = []
    actual: list[torch.Tensor] = []
    while len(left_N):

        def score(n_rows: int, rows_N: NDArray[np.int64] = left_N) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
            batch = split.collate(rows_N[:n_rows], model.device)
            logits = forward(model, batch, precision)
            return task.losses(logits, batch.targets).flatten(), task.predict(logits), batch.targets

        of_rows = micro_batch.run(score, n_rows=len(left_N), longest=int(split.lengths_N[left_N[0]]))
        for all_of, some in zip((losses, predicted, actual), of_rows, strict=True):
            all_of.append(some)
        left_N = left_N[len(of_rows[2]) :]
    # on the host: MPS has no fp64
    loss = float(torch.cat(losses).cpu().double().sum()) / int(split.n_targets_N.sum())
    if not math.isfinite(loss):
        return {"loss": loss}
    metrics = task.metrics([p.cpu().numpy() for p in predicted], [a.cpu().numpy() for a in actual], loss)
    return {"loss": loss, **metrics}
