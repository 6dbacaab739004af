"""How the values of many trials are spread at each step, where their curves are too many to be drawn."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from service.search.results.evenly_spread import evenly_spread
from spezia.contract.curves import MAX_BAND_STEPS, Bands

_QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)


def bands(curves: Iterable[tuple[Sequence[int], Sequence[float]]]) -> Bands:
    """Return the quantiles at each step of curves, each its steps and values; what is not finite is left out."""
    by_step: defaultdict[int, list[float]] = defaultdict(list)
    for steps, values in curves:
        for step, value in zip(steps, values, strict=True):
            by_step[step].append(value)
    finite = {step: kept for step in sorted(by_step) if (kept := _finite(by_step[step])).size}
    shown = list(evenly_spread(list(finite), MAX_BAND_STEPS))
    spread = [np.quantile(finite[step], _QUANTILES).tolist() for step in shown]
    p10, p25, p50, p75, p90 = ([at_step[place] for at_step in spread] for place in range(len(_QUANTILES)))
    n_trials = [finite[step].size for step in shown]
    return Bands(steps=shown, n_trials=n_trials, p10=p10, p25=p25, p50=p50, p75=p75, p90=p90)


def _finite(values: list[float]) -> NDArray[np.float64]:
    array = np.array(values, dtype=np.float64)
    return array[np.isfinite(array)]
