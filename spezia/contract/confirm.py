"""Confirmation: the best trials of a study and its baseline, run again under fresh seeds when the search has ended."""

from typing import Annotated, Literal

from pydantic import Field

from spezia.contract.wire import Count, Reply, Wire

MAX_TOP = 10
"""Largest number of trials whose params run again."""

MAX_SEEDS = 16
"""Largest number of fresh seeds."""

MAX_ROW_SCORES = 4_096
"""Largest number of values in which a run tells how it did on each validation row; of a larger split each value is the
mean of several rows."""


class Confirm(Wire):
    """Runs that confirm the winner: the best trials and the baseline again, in full, under the same fresh seeds."""

    top: Annotated[int, Field(ge=1, le=MAX_TOP)] = 3
    """Number of the best trials that run again. Unless ``training.keep_models`` is given, as many models are kept, so
    that there is one of whichever trial wins."""
    seeds: Annotated[int, Field(ge=2, le=MAX_SEEDS)] = 3
    """Number of fresh seeds under which each of them and the baseline run."""


class ConfirmRun(Reply):
    """One run of a trial's params under a fresh seed; it is no trial and not counted in ``n_trials``."""

    number: Count
    """Number of the trial whose params these are, from 0."""
    seed: Count
    """Number of the fresh seed, from 0; runs of one seed see the data in the same order where batches are equally
    large."""
    value: float | None
    """Value of the run's best evaluation; null where it failed."""
    failure: str | None
    """Class and message of the failure; null where the run has a value."""


class Confirmation(Reply):
    """What the runs under fresh seeds say of the search's winner."""

    state: Literal["waiting", "running", "complete", "incomplete"]
    """State of the confirmation.

    - ``waiting``: the search has not ended yet.
    - ``running``: runs have yet to end.
    - ``complete``: all runs have ended.
    - ``incomplete``: runs are missing, for want of time or because the study was ended; nothing is claimed.
    """
    verdict: Literal["better", "no_significant_gain"] | None = None
    """Whether the winner is better than the baseline by more than chance explains; null unless ``complete``, and
    where the baseline failed under a fresh seed."""
    sentence: str
    """What was found, in words, with what to do about it."""
    runs: list[ConfirmRun] = []
    """Runs that have ended, by seed and then by trial."""
    n_runs: Count = 0
    """Number of runs that there are in all; 0 while the search goes on."""
    winner: Count | None = None
    """Number of the trial that is best by the mean of its runs, and so the best trial of the study; null unless
    ``complete``."""
    searched_winner: Count | None = None
    """Number of the trial that was best in the search; null while the search goes on."""
    searched_value: float | None = None
    """Value of the winner in the search, which chose it for that value."""
    confirmed_value: float | None = None
    """Mean value of the winner's runs: what to expect of these params."""
    optimism: float | None = None
    """By how much ``searched_value`` looks better than ``confirmed_value``, in the metric's own unit."""
    baseline_value: float | None = None
    """Mean value of the baseline's runs."""
    gain: float | None = None
    """By how much ``confirmed_value`` is better than ``baseline_value``, in the metric's own unit."""
    interval: tuple[float, float] | None = None
    """Interval of 95 % around ``gain``, widened for the choice among ``top``."""
    resampled: Literal["rows and seeds", "seeds"] | None = None
    """What the interval takes for chance: which rows the validation split holds and which seeds were drawn, or, for a
    metric that is no mean over rows, the seeds alone."""
