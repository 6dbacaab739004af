"""The learning curves of a study's trials, as columns: entry i of each belongs to the i-th trial that is listed.

    {"study": "intents", "metric": "validation_loss", "direction": "minimize", "sequence": 4711,
     "numbers": [0, 1, 2],
     "states":  ["COMPLETE", "PRUNED", "RUNNING"],
     "steps":   [[1, 2, 3], [1], [1, 2]],
     "values":  [[0.9, 0.5, 0.4], [1.2], [0.8, null]],
     "bands":   null}

Whoever asks again with `?after=4711` is told of the trials that something has happened to since, each one whole.
"""

from spezia.contract.tasks import Direction
from spezia.contract.trial import TrialState
from spezia.contract.wire import Count, Reply

MAX_POINTS = 1_000
"""Largest number of evaluations of one trial that its curve shows."""

MAX_BAND_STEPS = 500
"""Largest number of steps that bands show."""

MAX_LISTED_TRIALS = 200
"""Largest number of trials that one call asks for by their numbers."""


class Bands(Reply):
    """Quantiles of a metric at each step, over all trials of a study that have a finite value there, as columns."""

    steps: list[Count]
    """Steps at which trials were evaluated, ascending; where there are more than 500, 500 that are evenly spread."""
    n_trials: list[Count]
    """Number of trials with a finite value at each step."""
    p10: list[float]
    """Value at each step that a tenth of the trials are below."""
    p25: list[float]
    """Value at each step that a quarter of the trials are below."""
    p50: list[float]
    """Median of the values at each step."""
    p75: list[float]
    """Value at each step that a quarter of the trials are above."""
    p90: list[float]
    """Value at each step that a tenth of the trials are above."""


class Curves(Reply):
    """The learning curves of trials, as columns: entry i of each column belongs to the i-th trial that is listed."""

    study: str
    """Name of the study."""
    metric: str
    """Metric that the values are of."""
    direction: Direction | None
    """Whether the study minimizes or maximizes the metric; null where it is none of the objectives'."""
    sequence: Count
    """Number of the last event of the study that the answer knows of; `after` of the next call."""
    numbers: list[Count]
    """Numbers of the trials, ascending."""
    states: list[TrialState]
    """State of each trial."""
    steps: list[list[Count]]
    """Steps at which each trial was evaluated, ascending; of more than 1,000 evaluations 1,000 that are evenly spread,
    with the first and the last."""
    values: list[list[float | None]]
    """Value of the metric at each of these steps; null where it is not finite."""
    bands: Bands | None
    """Quantiles over all trials of the study; null unless they were asked for."""
