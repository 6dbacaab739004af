"""The answer of a study: its best trial, or the trials of its Pareto front."""

from typing import Any

from spezia.contract.start_small import SmallRuns
from spezia.contract.study import TrialCounts
from spezia.contract.study_spec import Params
from spezia.contract.wire import Count, Reply


class Baseline(Reply):
    value: float | None
    params: Params
    values: dict[str, float] = {}
    """By metric; empty while it has not completed."""


class BestTrial(Reply):
    """The answer of a study, with its evidence. Ties go to the lower number."""

    study: str
    number: Count
    value: float
    metric: str
    """Of several objectives the first."""
    values: dict[str, float] = {}
    """Of all objectives, by metric, at the evaluation that the first of them chose."""
    params: Params
    metrics: dict[str, float]
    """All metrics of the best evaluation; those of the test split are named ``test_…``."""
    step: Count
    epoch: float
    baseline: Baseline | None
    improvement: float | None
    """By how much ``value`` is better than the baseline's, in the metric's own unit; negative only where there are
    several objectives, or the baseline does not meet the constraints."""
    improvements: dict[str, float] | None = None
    """The same of all objectives, by metric; negative where the baseline is better."""
    trials: TrialCounts
    device_seconds: float
    model: str | None
    """Path of the model under this service, of a trial on a Pareto front the list of its files; null when none is
    kept."""
    model_directory: str | None
    """Where the model lies on the service's machine."""
    training_arguments: dict[str, Any]
    """The same configuration in the names of transformers' ``TrainingArguments``."""
    generalization_gap: float | None
    """Validation loss minus training loss at the best evaluation, in nats."""
    start_small: SmallRuns | None = None
    """Null where the spec does not ask for it."""
    warnings: list[str]


class ParetoFront(Reply):
    """The answer of a study of several objectives."""

    study: str
    pareto: list[BestTrial]
    """The COMPLETE trials that no other is better than in one objective without being worse in another, and that meet
    the constraints; the best by the first objective first."""
