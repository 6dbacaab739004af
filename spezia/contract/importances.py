"""How much each hyperparameter mattered in a study."""

from typing import Literal

from spezia.contract.wire import Count, Reply


class Importances(Reply):
    """How much of the differences between the trials of a study each searched param explains."""

    study: str
    """Name of the study."""
    evaluator: Literal["ped-anova", "fanova"]
    """Optuna's method that computed the importances."""
    objective: str
    """Metric of the objective that the importances are about."""
    n_trials: Count
    """Number of COMPLETE trials that the importances were computed from."""
    importances: dict[str, float]
    """Share of each searched param by its name, the largest first; the shares sum to 1."""
