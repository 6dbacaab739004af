"""The decision of Optuna's median and percentile pruners, which by themselves look at all trials at every report."""

import math
from collections.abc import Iterable, Mapping

import numpy as np

from service.search.pruning.curves import Values
from spezia.contract import pruners
from spezia.contract.tasks import Direction

_LARGE = 1e300
"""Bound of values whose differences are finite."""


def percentile_of(pruner: pruners.MedianPruner | pruners.PercentilePruner) -> float:
    """Return the share of trials in percent that a median or percentile pruner lets go on at each step."""
    return pruner.options.percentile if isinstance(pruner, pruners.PercentilePruner) else 50.0


def is_behind(
    pruner: pruners.MedianPruner | pruners.PercentilePruner,
    direction: Direction,
    own: Mapping[int, float],
    peers: Iterable[Values],
) -> bool:
    """Return whether a trial is pruned at its last step, exactly as ``optuna.pruners.PercentilePruner`` decides.

    Args:
        own: The trial's values by step, all finite.
        peers: Values of COMPLETE trials at this step.
    """
    options = pruner.options
    step = max(own)
    # Optuna counts steps from 0 and we from 1
    n_protected = options.n_warmup_steps + 1
    if step < n_protected:
        return False
    due = (step - n_protected) // options.interval_steps * options.interval_steps + n_protected
    since = range(due, step)
    if any(one in own for one in since) if len(since) < len(own) else any(one in since for one in own):
        return False  # judged in this interval already
    values = list(peers)
    if sum(map(len, values)) < options.n_min_trials:
        return False
    percentile = percentile_of(pruner)
    if direction == "minimize":
        return _is_worse(min(own.values()), values, percentile, lower_is_better=True)
    return _is_worse(max(own.values()), values, 100 - percentile, lower_is_better=False)


def _is_worse(best: float, peers: list[Values], percentile: float, *, lower_is_better: bool) -> bool:
    # The percentile lies between two neighbours in the order of all values (numpy's method "linear"). Where both lie
    # on one side of `best`, so does the percentile, and to count what lies below `best` takes a search in each array.
    if all(one[0] > -_LARGE and one[-1] < _LARGE for one in peers):  # no NaN either
        n_below = sum(int(one.searchsorted(best, "left" if lower_is_better else "right")) for one in peers)
        last = sum(map(len, peers)) - 1
        neighbour = math.floor(last * (percentile / 100))
        if min(neighbour + 1, last) < n_below:
            return lower_is_better
        if neighbour >= n_below:
            return not lower_is_better
    limit = float(np.nanpercentile(np.concatenate(peers), percentile))
    return best > limit if lower_is_better else best < limit
