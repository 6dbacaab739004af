"""Small runs before the full ones: the same params on a fraction of the training data."""

from typing import Annotated

from pydantic import Field

from spezia.contract.wire import Count, Reply, Wire


class StartSmall(Wire):
    """The first ``trials`` trials of a study run on ``fraction`` of the training rows before any runs in full."""

    fraction: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Of the training rows of each class. A larger fraction holds the rows of a smaller one."""
    trials: Annotated[int, Field(ge=1, le=100)] = 4


class SmallRun(Reply):
    """What the params of one trial came to on a fraction of the data. It is no trial: ``n_trials`` is of full ones."""

    number: Count
    """Of the trial that has the same params."""
    value: float | None
    failure: str | None
    """Class and message, of a run that has no value."""
    full_value: float | None
    """Of that trial, once it is COMPLETE."""


class SmallRuns(Reply):
    """Whether small runs tell good params from bad ones as full runs do."""

    fraction: float
    runs: list[SmallRun]
    """Those that have ended."""
    n_compared: Count
    """Runs with a value of both kinds."""
    rank_correlation: float | None
    """Spearman's, over those; null where there are fewer than three, or all are equal."""
    meaning: str
