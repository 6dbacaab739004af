"""Errors that end a study or a trial because of what was asked, not because of a bug.

TrainerError
├── DataError        data_error: a data file is wrong; names file and row
├── ConfigError      config_error: model, space or setting is wrong; names the field
├── Diverged         diverged: a loss is no longer a finite number
├── NoMetric         no_metric: a script ended without a report
└── CheckpointLost   lost: what the trial was to go on from cannot be read
"""

from typing import ClassVar


class TrainerError(Exception):
    """Base of all errors of the trainer. The message says what to do; it reaches the user as it is."""

    failure_class: ClassVar[str]
    """Class under which the service records the failure (``spezia.contract.failure.Failure``)."""


class DataError(TrainerError):
    """The data cannot be used. The work is never tried again."""

    failure_class = "data_error"


class ConfigError(TrainerError):
    """The model, a hyperparameter or a setting cannot be used. The work is never tried again."""

    failure_class = "config_error"


class Diverged(TrainerError):
    """A training or validation loss is NaN or infinite."""

    failure_class = "diverged"


class CheckpointLost(TrainerError):
    """The checkpoint that an attempt was to go on from is gone or cannot be read; the trial begins anew."""

    failure_class = "lost"


class NoMetric(TrainerError):
    """A user's script returned without having reported its objective."""

    failure_class = "no_metric"
