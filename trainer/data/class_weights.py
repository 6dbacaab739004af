"""Weights of classes in the training loss, which let rare classes count as much as frequent ones.

N = rows of a split, C = classes.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from trainer.data.tokenised_split import IGNORED, Split


@dataclass(frozen=True, kw_only=True)
class ClassWeights:
    """Weights for training on one split."""

    of_classes_C: torch.Tensor
    """Weight of a target of each class, on the device of the model."""
    of_rows_N: NDArray[np.float64]
    """Weight of all targets of each row of the split together."""

    @classmethod
    def of(cls, weights_C: NDArray[np.float32], split: Split, device: torch.device) -> "ClassWeights":
        """Return the weights ``weights_C`` of the classes for training on ``split``."""
        starts_N = np.cumsum(split.n_targets_N) - split.n_targets_N
        of_rows_N = np.add.reduceat(weights_C[_counted_targets(split)].astype(np.float64), starts_N)
        return cls(of_classes_C=torch.from_numpy(weights_C).to(device), of_rows_N=of_rows_N)


def balanced_weights(split: Split, n_classes: int) -> NDArray[np.float32]:
    """Return n / (k · n_c) for each class c ``[C]``, of n targets in k classes, n_c of them in c.

    Together each class then weighs the same. It is scikit-learn's ``class_weight="balanced"``. A class that does not
    occur weighs nothing, and k does not count it.
    """
    counts_C = np.bincount(_counted_targets(split), minlength=n_classes)
    n_present = np.count_nonzero(counts_C)
    weights_C = counts_C.sum() / (n_present * np.maximum(1, counts_C))
    return np.where(counts_C > 0, weights_C, 0.0).astype(np.float32)


def _counted_targets(split: Split) -> NDArray[np.int64]:
    targets: NDArray[np.int64] = split.targets[split.targets != IGNORED]
    return targets
