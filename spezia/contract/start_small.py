"""Pilots: small runs of a trial's params on a fraction of the training data, before the full trials."""

from typing import Annotated

from pydantic import Field

from spezia.contract.wire import Count, Reply, Wire


class StartSmall(Wire):
    """Small runs: the params of the first trials are tried on a fraction of the training rows before any full trial."""

    fraction: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Fraction of the training rows of each class that a small run trains on; a larger fraction holds the rows of a
    smaller one."""
    trials: Annotated[int, Field(ge=1, le=100)] = 4
    """Number of trials whose params are tried small, from trial 0 on."""


class SmallRun(Reply):
    """Result of a trial's params on a fraction of the data; a small run is no trial and not counted in ``n_trials``."""

    number: Count
    """Number of the trial that has the same params."""
    value: float | None
    """Value of the small run by the first objective; null where it failed."""
    failure: str | None
    """Class and message of the failure; null where the small run has a value."""
    full_value: float | None
    """Value of the trial with the same params, by the first objective; null until that trial is COMPLETE."""


class SmallRuns(Reply):
    """The small runs of a study, and whether they rank params as full trials do."""

    fraction: float
    """Fraction of the training rows that each small run trains on."""
    runs: list[SmallRun]
    """Small runs that have ended."""
    n_compared: Count
    """Number of small runs that have a value and whose trial has one too."""
    rank_correlation: float | None
    """Spearman's rank correlation between small and full values; null where fewer than three can be compared, or
    all values of one kind are equal."""
    meaning: str
    """The rank correlation and its consequence, in words."""
