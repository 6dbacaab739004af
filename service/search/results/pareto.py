"""The Pareto front: the points that no other point dominates."""

import numpy as np
from numpy.typing import NDArray


def pareto_front(losses: NDArray[np.float64], tie_breaker: NDArray[np.int64]) -> list[int]:
    """Return the rows that no other row dominates: none is lower in one column and higher in none.

    Equal rows are all on the front. The order is by the first column, then by the next ones, then by ``tie_breaker``.

    Args:
        losses: Shape [rows, objectives]; lower is better.
        tie_breaker: Shape [rows].
    """
    order = np.lexsort((tie_breaker, *reversed(losses.T)))
    in_order = losses[order]
    left = np.arange(len(order))
    front: list[int] = []
    while left.size:
        # nothing behind the first can dominate it, because it is higher somewhere or equal everywhere
        first = in_order[left[0]]
        front += order[left[(in_order[left] == first).all(axis=1)]].tolist()
        left = left[(in_order[left] < first).any(axis=1)]
    return front
