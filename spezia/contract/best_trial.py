"""The answer of a study: its best trial, or the trials of its Pareto front."""

from typing import Any

from spezia.contract.advice import Advice
from spezia.contract.confirm import Confirmation
from spezia.contract.saved import SavedSeconds
from spezia.contract.start_small import SmallRuns
from spezia.contract.study import TrialCounts
from spezia.contract.study_spec import Params
from spezia.contract.warm_start import TakenFrom
from spezia.contract.wire import Count, Reply


class Baseline(Reply):
    """The trial that ran the defaults, for comparison."""

    value: float | None
    """Value of the baseline by the first objective; null while it has none."""
    params: Params
    """Searched params of the baseline."""
    values: dict[str, float] = {}
    """Values of the baseline by all objectives, by metric; empty while it has not completed."""


class BestTrial(Reply):
    """The best trial of a study with its evidence; of equal trials the one with the lower number, and of a study that
    was confirmed the winner under fresh seeds."""

    study: str
    """Name of the study."""
    number: Count
    """Number of the trial within its study, from 0."""
    value: float
    """Value of the trial by the first objective."""
    metric: str
    """Metric of the first objective."""
    values: dict[str, float] = {}
    """Values of all objectives by metric, at the trial's best evaluation by the first objective."""
    params: Params
    """Searched params of the trial."""
    taken_from: TakenFrom | None = None
    """Trial of an earlier study whose params this trial runs, by ``warm_start``; null where there is none."""
    metrics: dict[str, float]
    """All metrics of the trial's best evaluation; those of the test split are named ``test_…``."""
    step: Count
    """Number of the trial's best evaluation, from 1; 0 for a trial that another program has added without any."""
    epoch: float
    """Epochs that the trial had trained at its best evaluation."""
    baseline: Baseline | None
    """The trial that ran the defaults; null where the study has no baseline."""
    improvement: float | None
    """By how much ``value`` is better than the baseline's, in the metric's own unit; null while the baseline has no
    value. It is negative only where there are several objectives, the baseline does not meet the constraints, or the
    confirmed winner is another trial than the best of the search."""
    improvements: dict[str, float] | None = None
    """By how much the trial is better than the baseline in each objective, by metric; negative where the baseline is
    better, and null while the baseline has no values."""
    trials: TrialCounts
    """Number of the study's trials in each state."""
    device_seconds: float
    """Device seconds that all attempts of all trials of the study have used."""
    saved_seconds: SavedSeconds = SavedSeconds()
    """Device seconds that pruning, early stopping and the trunk cache have saved."""
    model: str | None
    """Path of the trial's model under this service: a tar, or the list of its files where the study has several
    objectives; null where no model is kept."""
    model_directory: str | None
    """Directory of the trial's model on the service's machine, for ``from_pretrained``; null where no model is kept, or
    models are kept in a bucket."""
    training_arguments: dict[str, Any]
    """The trial's configuration in the names of transformers' ``TrainingArguments``; empty for a script."""
    generalization_gap: float | None
    """Validation loss minus training loss at the best evaluation, in nats; null where one of them is not known."""
    start_small: SmallRuns | None = None
    """How well small runs predicted full ones; null where the study has none."""
    confirmation: Confirmation | None = None
    """What runs under fresh seeds say of the trial and its gain over the baseline; null where the study has none."""
    warnings: list[str]
    """What to know before using the trial, with what to do about it."""
    advice: list[Advice] = []
    """Changes of the spec that the trial advises for the next study, what may gain most first; at most one for each
    parameter. The sentence of each is among the warnings."""


class ParetoFront(Reply):
    """The best trials of a study of several objectives: its Pareto front."""

    study: str
    """Name of the study."""
    pareto: list[BestTrial]
    """The COMPLETE trials that meet the constraints and that no other trial beats in one objective without being
    worse in another; the best by the first objective comes first."""
