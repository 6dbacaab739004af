"""What a study will take, said at its beginning."""

from spezia.contract.study_spec import Params
from spezia.contract.wire import Count, Reply


class Interval(Reply):
    """A number that is expected, and between what it will probably lie."""

    low: float
    """The least: for seconds, as if every trial that the pruner or early stopping may end were ended at once."""
    expected: float
    """What is expected if no trial is ended early; under the pruner ``rungs``, where as many go on as it lets."""
    high: float
    """The most."""


class Quote(Reply):
    """What a study will take, from a few steps that were timed when it was prepared. It stays as it was made, so that
    it can be compared with what the study took."""

    device_seconds: Interval
    """Device seconds of all that the study does: preparing, small runs, trials and scoring."""
    wall_seconds: Interval
    """Seconds from the study's creation to its end, if nothing else occupies the workers; pauses are not counted."""
    n_trials: Count
    """Number of trials that are quoted."""
    n_workers: Count
    """Number of workers that are expected to share them."""
    device: str
    """Name of the device that the steps were timed on."""
    peak_memory_bytes: Count
    """Most memory that the timed steps took: on CUDA of the device, else of the worker's process."""
    will_not_fit: list[Params] = []
    """Kinds of trials of which not even one row at a time fits into memory. They count as if they took no time."""
