"""What a person gets back of a study: `Study` while it runs, `BestTrial` as its answer."""

from datetime import datetime
from typing import Any, Literal

from spezia.contract.similarity import Similarity
from spezia.contract.start_small import SmallRuns
from spezia.contract.study_spec import CheckedSpec, Params
from spezia.contract.wire import Count, Reply

StudyState = Literal["running", "paused", "stopping", "complete", "cancelled", "failed"]
StudyOrder = Literal["name", "-name", "created_at", "-created_at"]
"""Of a list; with a minus sign from the end."""


class TrialCounts(Reply):
    waiting: Count = 0
    running: Count = 0
    complete: Count = 0
    pruned: Count = 0
    fail: Count = 0


class Facts(Reply):
    """What a worker found out about data and model before the first trial."""

    train_rows: Count
    validation_rows: Count
    test_rows: Count | None
    classes: list[str]
    max_tokens: Count
    """Tokens of the longest example, after truncation."""
    truncated_rows: Count
    blocks: Count | None
    """Transformer blocks that can be frozen; null where the model cannot be split."""
    parameters: Count
    checkpoint_dropout: float | None
    """The checkpoint's own hidden dropout."""
    model_commit: str | None
    """The hub commit that all trials use; null for a directory or a carried copy."""
    model_sha256: str
    data_sha256: str
    precision: Literal["fp32", "bf16"]
    similarity: Similarity | None = None
    """Null where the study does not ask for it, or nothing can be told."""
    warnings: list[str] = []


class Failure(Reply):
    failure_class: Literal[
        "out_of_memory",
        "diverged",
        "device_error",
        "host_out_of_memory",
        "data_error",
        "config_error",
        "disk_full",
        "lost",
        "preempted",
        "no_metric",
        "exception",
        "stalled",
        "cancelled",
        "budget",
    ]
    message: str


class Best(Reply):
    number: Count
    value: float


class Study(Reply):
    name: str
    owner: str | None = None
    """Name of the API key that created it; null: it was created without one."""
    state: StudyState
    failure: Failure | None
    """Why a ``failed`` study failed."""
    spec: CheckedSpec
    facts: Facts | None
    trials: TrialCounts
    best: Best | None
    """Null with several objectives: see ``pareto``."""
    pareto: list[Count] | None = None
    """Numbers of the trials on the Pareto front so far, the best by the first objective first; null with one
    objective."""
    n_finished: Count
    failures: dict[str, Count] = {}
    """How many trials failed, by failure class."""
    generalization_gap: float | None = None
    """Of the best trial so far: validation loss minus training loss at its best evaluation."""
    elapsed_seconds: float
    """From creation to the end, or to now."""
    device_seconds: float
    """Summed over all attempts of all trials."""
    created_at: datetime
    finished_at: datetime | None
    start_small: SmallRuns | None = None
    """Null where the spec does not ask for it."""
    warnings: list[str] = []


class StudyList(Reply):
    studies: list[Study]
    next_page_token: str | None


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
