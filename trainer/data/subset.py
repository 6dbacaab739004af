"""Chooses a share of a split's rows.

N = rows of the split.
"""

import math

import numpy as np
from numpy.typing import NDArray

from trainer.data.tokenised_split import Split
from trainer.trial.seeds import derive_seed


def subset_rows(split: Split, fraction: float, seed: int) -> list[int]:
    """Return the rows of a subset, ascending: ``fraction`` of each class, and at least one row of each.

    Where a row has no single class, it is ``fraction`` of all rows. Subsets are nested: of one seed, a larger fraction
    holds all rows of a smaller one, since both are the first rows of the same shuffle of a class.
    """
    generator = np.random.default_rng(derive_seed("subset", seed))
    chosen: list[int] = []
    for rows in _strata(split):
        shuffled = generator.permutation(rows)
        chosen += shuffled[: math.ceil(fraction * len(rows))].tolist()
    return sorted(chosen)


def _strata(split: Split) -> list[NDArray[np.int64]]:
    """The rows of each class; all rows in one where a row has no single class."""
    targets = split.targets
    if targets.shape != (len(split),) or not np.issubdtype(targets.dtype, np.integer):
        return [np.arange(len(split))]
    return [np.flatnonzero(targets == target) for target in np.unique(targets)]
