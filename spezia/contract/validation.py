"""What the service thinks of a study before it starts."""

from spezia.contract.study_spec import StudySpec
from spezia.contract.wire import Count, Reply, Text


class SpecWarning(Reply):
    """Something that is allowed and will likely disappoint."""

    field: Text
    message: Text
    advice: Text
    """What to do instead."""

    def __str__(self) -> str:
        return f"{self.field}: {self.message}; {self.advice}"


class Validation(Reply):
    """What ``POST /v1/studies:validate`` found; a spec that it refuses is a problem of status 422 instead."""

    spec: StudySpec
    """As it would be stored: defaults and preset filled in."""
    warnings: list[SpecWarning]
    n_parameters: Count
    """Searched ones."""
    size_of_space: Count | None
    """Distinct trials that the space holds; null when a range is continuous, or they are too many to count."""
    n_trials: Count
    """That differ from each other: those of the spec, or as many as the space holds."""
    n_trials_advised: Count
    """That a space of this many parameters deserves."""
    longest_trial_evaluations: Count | None
    """Reports of the longest trial that the space allows; null for a script, which reports when it likes."""
