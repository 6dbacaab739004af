"""Makes the seeds of all random numbers of a trial."""

from typing import Literal

import numpy as np

_PURPOSES = {"split": 0, "head": 1, "dropout": 2, "batches": 3, "adapters": 4, "subset": 5}


def derive_seed(purpose: Literal["split", "head", "dropout", "batches", "adapters", "subset"], *parts: int) -> int:
    """Return a seed of 63 bits for one purpose, mixed from the study's seed and the trial number, epoch or step.

    Neighbouring inputs give unrelated seeds, which ``seed + number`` would not.
    """
    state = np.random.SeedSequence([_PURPOSES[purpose], *parts]).generate_state(1, np.uint64)
    return int(state[0]) >> 1  # torch and numpy both take 63 bits
