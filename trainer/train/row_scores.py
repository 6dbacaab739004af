"""Scores each validation row, so that runs under fresh seeds can be compared row by row.

B = rows of a batch, N = rows of a split, G = groups of rows.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from spezia.contract.confirm import MAX_ROW_SCORES
from trainer.model.best_model import BestModel
from trainer.model.device import scoring_tokens
from trainer.model.memory_hints import MemoryHints
from trainer.model.micro_batch_size import MicroBatchSize
from trainer.model.over_logits import over_logits
from trainer.model.pretrained import Pretrained
from trainer.tasks.one_class import OneClassTask
from trainer.train.begin_trial import memory_key
from trainer.train.prepare import Prepared

_LOSSES = ("validation_loss", "mse")
"""Metrics that are the mean of the losses."""


class RowScores(BestModel):
    """The objective on each validation row at the best evaluation of a trial, in place of its weights."""

    def __init__(self, prepared: Prepared, hints: MemoryHints | None = None) -> None:
        super().__init__()
        self._prepared = prepared
        self._hints = hints
        self.scores: list[float] | None = None
        """Scores so far, as `ConfirmOutcome.row_scores` has them; ``None``: the objective is no mean over rows."""

    def keep(self, pretrained: Pretrained, model: PreTrainedModel) -> None:
        """Score the rows with ``model`` as an evaluation has left it."""
        del pretrained
        if is_mean_over_rows(self._prepared):
            self.scores = grouped(_score_rows(self._prepared, model, self._hints)).tolist()


def is_mean_over_rows(prepared: Prepared) -> bool:
    """Whether the objective of a study is a mean over rows, all of one weight or weighted by their targets."""
    return _counts_hits(prepared) or prepared.spec.metric in _LOSSES


def grouped(scores_N: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return scores with the same mean, of rows or, where there are too many, of equally many groups of them, ``[G]``.

    Row n belongs to group n modulo G.
    """
    n_groups = min(len(scores_N), MAX_ROW_SCORES)
    sums_G = np.bincount(np.arange(len(scores_N)) % n_groups, weights=scores_N, minlength=n_groups)
    return (sums_G * (n_groups / len(scores_N))).astype(np.float32).astype(np.float64)


@torch.no_grad()
def _score_rows(prepared: Prepared, model: PreTrainedModel, hints: MemoryHints | None) -> NDArray[np.float64]:
    """Return scores ``[N]`` whose mean is the objective: of a row with more targets the more."""
    split, task = prepared.validation, prepared.task
    counts_hits = _counts_hits(prepared)
    key = memory_key(prepared, {"evaluates": True})
    micro_batch = MicroBatchSize(scoring_tokens(model.device), hints, key)
    scores_N = np.zeros(len(split))
    n_targets_N = split.n_targets_N

    def score(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return (task.predict(logits) == targets).float() if counts_hits else task.losses(logits, targets)

    def score_rows(rows_B: NDArray[np.int64]) -> None:
        batch = split.collate(rows_B, model.device)
        pieces = over_logits(score, model, batch, prepared.facts.precision)
        if batch.next_N is None:
            scores_N[rows_B] = pieces[0].cpu().double().reshape(len(rows_B), -1).sum(1).numpy()
        else:  # one loss for each counted position, row by row
            losses = torch.cat(pieces).cpu().double().numpy()
            of_row = np.repeat(np.arange(len(rows_B)), n_targets_N[rows_B])
            scores_N[rows_B] = np.bincount(of_row, weights=losses, minlength=len(rows_B))

    for _ in micro_batch.run_longest_first(score_rows, split.lengths_N):
        pass
    return scores_N * (len(split) / int(n_targets_N.sum()))


def _counts_hits(prepared: Prepared) -> bool:
    return prepared.spec.metric == "accuracy" and isinstance(prepared.task, OneClassTask)
