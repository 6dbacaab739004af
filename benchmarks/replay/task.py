"""One task of a table of learning curves, as a search sees it when its trials are replayed.

N = configurations of the table, E = most evaluations of one trial.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ft_table import Table
from numpy.typing import NDArray

WEIGHTS = {
    "learning_rate": 1.0,
    "frozen_layers": 0.7,
    "batch_size": 0.5,
    "dropout": 0.2,
    "lr_schedule": 0.2,
    "weight_decay": 0.1,
}
"""How much a difference across the whole range of a hyperparameter, or between two categories, counts where the
configuration is looked for that is nearest to a proposal. Ours: what matters more for the loss counts more."""

Params = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class ReplayTask:
    """The curves of one task. Rows that the table lacks are left out."""

    name: str
    search_space: dict[str, dict[str, Any]]
    configurations: list[Params]
    """The baseline is the first."""
    evaluations_per_epoch: int
    losses_NE: NDArray[np.float64]
    """Validation losses; NaN behind a trial's end."""

    @classmethod
    def of_table(cls, table: Table, name: str) -> "ReplayTask":
        losses_NE = table.curves_TNEM[table.tasks.index(name), :, :, 0].astype(float)
        known = np.isfinite(losses_NE[:, 0])
        return cls(
            name=name,
            search_space=table.search_space,
            configurations=[one for one, is_known in zip(table.configurations, known, strict=True) if is_known],
            evaluations_per_epoch=table.evaluations_per_epoch,
            losses_NE=losses_NE[known],
        )

    @property
    def best_N(self) -> NDArray[np.float64]:
        """The value of each configuration: the loss of its best evaluation, which is what a trial counts."""
        return np.nanmin(self.losses_NE, axis=1)

    def target(self, share: float) -> float:
        """Return the value that ``share`` of the configurations reach."""
        return float(np.sort(self.best_N)[max(1, math.floor(share * len(self.best_N))) - 1])

    @property
    def longest(self) -> int:
        """Number of evaluations of the longest trial."""
        return max(map(self.n_evaluations, self.configurations))

    def n_evaluations(self, params: Params) -> int:
        return int(params["epochs"] * self.evaluations_per_epoch)

    def curve(self, params: Params) -> list[float]:
        """Return the losses of the configuration nearest to ``params``, shorter than planned where it diverged.

        Only configurations of equally many epochs are looked at, so that the curve is as long as the trial.
        """
        row = min(
            (row for row, one in enumerate(self.configurations) if one["epochs"] == params["epochs"]),
            key=lambda row: self._distance(self.configurations[row], params),
        )
        curve = self.losses_NE[row, : self.n_evaluations(params)]
        return [float(loss) for loss in curve[np.isfinite(curve)]]

    def _distance(self, one: Params, other: Params) -> float:
        return sum(
            (weight * _difference(self.search_space[name], one[name], other[name])) ** 2
            for name, weight in WEIGHTS.items()
            if name in self.search_space
        )


def portfolio(others: Sequence[ReplayTask], count: int, fixed: Params) -> list[Params]:
    """Return the configurations that together are best on ``others``: each next one lowers the mean regret most.

    The regret on a task is the distance to its best value, as a share of the distance from there to its median.

    Args:
        fixed: params that they must have.
    """
    shared = [
        one
        for one in others[0].configurations
        if all(one in task.configurations for task in others) and one | fixed == one
    ]
    regrets_TN = np.array([_regrets(task, shared) for task in others])
    chosen: list[int] = []
    for _ in range(count):
        best_T = regrets_TN[:, chosen].min(axis=1) if chosen else np.full(len(others), np.inf)
        together_N = np.minimum(best_T[:, None], regrets_TN).mean(axis=0)
        together_N[chosen] = np.inf
        chosen.append(int(together_N.argmin()))
    return [shared[row] for row in chosen]


def _regrets(task: ReplayTask, configurations: Sequence[Params]) -> list[float]:
    best, median = float(task.best_N.min()), float(np.median(task.best_N))
    values = dict(zip(map(repr, task.configurations), task.best_N, strict=True))
    return [float(values[repr(one)] - best) / (median - best) for one in configurations]


def _difference(distribution: dict[str, Any], one: Any, other: Any) -> float:
    """Return how far two values lie apart, 1 for the whole range and for different categories."""
    if distribution["type"] == "categorical":
        if not all(isinstance(choice, int) for choice in distribution["choices"]):
            return float(one != other)
        low, high = min(distribution["choices"]), max(distribution["choices"])
        return abs(math.log(one / other)) / math.log(high / low)
    low, high = distribution["low"], distribution["high"]
    if distribution.get("log"):
        return abs(math.log(one / other)) / math.log(high / low)
    return float(abs(one - other) / (high - low))
