"""Which rows train together, in which order, and when a trial is evaluated.

N = training rows, B = rows of one batch.
"""

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from trainer.trial.seeds import derive_seed

WINDOW_BATCHES = 50
"""Number of batches whose rows are sorted by length together, which saves padding and leaves the order random."""


def steps_per_epoch(n_rows: int, batch_size: int) -> int:
    """Return the number of optimizer steps of one epoch, in which the last partial batch counts as one."""
    return math.ceil(n_rows / batch_size)


def evaluation_steps(n_steps: int, evaluations_per_epoch: int, epochs: int) -> list[int]:
    """Return the optimizer steps, ascending, after which a trial of ``n_steps`` steps an epoch is evaluated."""
    n_evaluations = evaluations_per_epoch * epochs
    return [round(step * n_steps / evaluations_per_epoch) for step in range(1, n_evaluations + 1)]


def trial_batches(
    lengths_N: NDArray[np.int64], *, batch_size: int, epochs: int, seed: int, number: int
) -> Iterator[NDArray[np.int64]]:
    """Yield the rows of each batch of a trial, epoch by epoch.

    Args:
        lengths_N: tokens of each row.
        batch_size: rows of a batch.
        seed: seed of the study.
        number: number of the trial; with ``seed`` it decides the order.
    """
    for epoch in range(epochs):
        yield from epoch_batches(lengths_N, batch_size, derive_seed("batches", seed, number, epoch))


def epoch_batches(lengths_N: NDArray[np.int64], batch_size: int, seed: int) -> list[NDArray[np.int64]]:
    """Return the rows of each batch of one epoch; every row is in one batch.

    Rows are shuffled, sorted by length within windows, cut into batches, and the batches are shuffled.

    Args:
        lengths_N: tokens of each row.
        batch_size: rows of each batch but one, which holds the remainder.
        seed: decides the order, together with the lengths and nothing else.
    """
    generator = np.random.default_rng(seed)
    order_N = generator.permutation(len(lengths_N))
    window = WINDOW_BATCHES * batch_size
    batches = []
    for start in range(0, len(order_N), window):
        rows = order_N[start : start + window]
        # Stable, so that rows of one length stay in their random order
        rows = rows[np.argsort(lengths_N[rows], kind="stable")]
        batches += [rows[i : i + batch_size] for i in range(0, len(rows), batch_size)]
    return [batches[i] for i in generator.permutation(len(batches))]
