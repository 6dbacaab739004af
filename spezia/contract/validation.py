"""What the service thinks of a spec without starting it: warnings, and the size of the search."""

from spezia.contract.advice import Advice
from spezia.contract.quote import Quote
from spezia.contract.study_spec import CheckedSpec
from spezia.contract.wire import Count, Reply, Text


class SpecWarning(Reply):
    """Something that a spec may ask for and that is likely to disappoint."""

    field: Text
    """Field of the spec that the warning is about, such as ``search_space.learning_rate.high``."""
    message: Text
    """What is likely to disappoint, and why."""
    advice: Text
    """What to do instead."""

    def __str__(self) -> str:
        return f"{self.field}: {self.message}; {self.advice}"


class Validation(Reply):
    """A spec as ``POST /v1/studies:validate`` understands it; one that it refuses is a problem of status 422."""

    spec: CheckedSpec
    """The spec as it would be stored, defaults and preset filled in."""
    plan: str = ""
    """Sentence about what the study will do: which trials run in which order, and what ends them early."""
    warnings: list[SpecWarning]
    """What is allowed and likely to disappoint."""
    advice: list[Advice] = []
    """Changes of the spec that the warnings advise, what may gain most first; at most one for each parameter."""
    n_parameters: Count
    """Number of params that are searched."""
    size_of_space: Count | None
    """Number of different trials that the search space holds; null where a range is continuous or there are too many
    to count."""
    n_trials: Count
    """Number of different trials that would run: ``n_trials`` of the spec, or as many as the search space holds."""
    n_trials_advised: Count
    """Number of trials that a search space of this many params deserves."""
    longest_trial_evaluations: Count | None
    """Number of evaluations of the longest trial that the spec allows; null for a script, which decides by itself
    when to report."""
    quote: Quote | None = None
    """What the study would take, by steps that were timed for an earlier study of the same task, model and data on a
    device that is here now; null where there is none."""
    warm_start: str | None = None
    """Sentence about the finished studies of which the study would run some of the best trials first; null where the
    spec asks for none."""
