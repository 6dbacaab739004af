"""The device seconds that a trial with given params takes, from steps that were timed before the first trial."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spezia.contract.facts import Facts
from spezia.contract.hyperparameters import default_of
from spezia.contract.step_times import KindTimes
from spezia.contract.study_spec import Params

_Times = NDArray[np.float64]
"""Seconds to start, of an epoch, of an evaluation, to fill the trunk cache, and of a pause; not a number where nothing
fits."""


@dataclass(frozen=True, kw_only=True)
class TrialCost:
    """Device seconds of a trial."""

    start: float
    """Before the first step."""
    epoch: float
    """Of one pass over the training rows."""
    evaluation: float
    """Of one evaluation."""
    fill: float
    """In which the first trial of this depth fills the trunk cache."""
    pause: float
    """In which a checkpoint is written and read."""
    depth: int
    """Number of blocks that stay frozen."""
    epochs: int
    """Number of epochs that are planned."""

    def seconds(self, n_epochs: float, n_evaluations: float) -> float:
        """Return the seconds of so many epochs and evaluations, without filling the cache; one that reads a share of
        the rows counts as that share."""
        return self.start + n_epochs * self.epoch + n_evaluations * self.evaluation


_NOTHING = TrialCost(start=0.0, epoch=0.0, evaluation=0.0, fill=0.0, pause=0.0, depth=0, epochs=0)
"""Of a trial that does not fit into memory, and so fails at once."""


class TrialCosts:
    """Costs of trials of one study, between those of the kinds that were timed.

    A kind that was not timed is taken to be like the one of its method that takes longest, or else of any.
    """

    def __init__(self, facts: Facts, kinds: Sequence[KindTimes]) -> None:
        self._facts = facts
        self._by_kind: dict[tuple[str, bool], dict[int, list[KindTimes]]] = {}
        for kind in kinds:
            of_kind = self._by_kind.setdefault((kind.method, kind.gradient_checkpointing), {})
            of_kind.setdefault(kind.frozen_blocks, []).append(kind)

    def of(self, params: Params) -> TrialCost:
        """Return the cost of a trial with all these params; nothing for one that does not fit into memory."""
        values = {name: params.get(name, default_of(name, params)) for name in _DECISIVE}
        depth = self._depth(values)
        kinds = self._like(str(values["method"]), bool(values["gradient_checkpointing"]))
        below = max((one for one in kinds if one <= depth), default=min(kinds))
        above = min((one for one in kinds if one >= depth), default=max(kinds))
        weight = 0.0 if below == above else (depth - below) / (above - below)
        lower, upper = (self._at_batch(kinds[one], int(values["batch_size"] or 1)) for one in (below, above))
        times = (1 - weight) * lower + weight * upper
        if np.isnan(times).any():
            return _NOTHING
        start, epoch, evaluation, fill, pause = map(float, times)
        return TrialCost(
            start=start,
            epoch=epoch,
            evaluation=evaluation,
            fill=fill,
            pause=pause,
            depth=depth,
            epochs=int(values["epochs"] or 1),
        )

    def _depth(self, values: Mapping[str, object]) -> int:
        n_blocks = self._facts.blocks or 0
        if values["method"] == "head_only":
            return n_blocks
        layers, share = values["frozen_layers"], values["frozen_fraction"]
        assert isinstance(layers, int | float)
        assert isinstance(share, int | float)
        return int(layers) or round(share * n_blocks)

    def _like(self, method: str, checkpointing: bool) -> dict[int, list[KindTimes]]:
        same_method = (found for (one, _), found in self._by_kind.items() if one == method)
        return self._by_kind.get((method, checkpointing)) or next(same_method, next(iter(self._by_kind.values())))

    def _at_batch(self, kinds: list[KindTimes], batch_size: int) -> _Times:
        """The time of an epoch lies between those of its smallest and largest batch as its number of steps does."""
        smallest, largest = kinds[0], kinds[-1]
        n_steps, most, least = (
            math.ceil(self._facts.train_rows / size) for size in (batch_size, smallest.batch_size, largest.batch_size)
        )
        weight = 0.0 if most == least else min(1.0, max(0.0, (n_steps - least) / (most - least)))
        return (1 - weight) * _times(largest) + weight * _times(smallest)


_DECISIVE = ("method", "gradient_checkpointing", "frozen_layers", "frozen_fraction", "batch_size", "epochs")
"""Hyperparameters on which the time of a trial depends."""


def _times(kind: KindTimes) -> _Times:
    epoch = math.nan if kind.epoch_seconds is None else kind.epoch_seconds
    return np.array([kind.start_seconds, epoch, kind.evaluation_seconds, kind.fill_seconds, kind.pause_seconds])
