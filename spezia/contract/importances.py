"""Which hyperparameters mattered."""

from typing import Literal

from spezia.contract.wire import Count, Reply


class Importances(Reply):
    study: str
    evaluator: Literal["ped-anova", "fanova"]
    objective: str
    """The metric that they matter for."""
    n_trials: Count
    """COMPLETE trials that it was computed from."""
    importances: dict[str, float]
    """A share for each searched param, summing to 1, the greatest first."""
