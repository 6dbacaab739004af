"""What a person asks for (`StudySpec`) and what they get back (`Study`, `BestTrial`)."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from service.contract.hyperparameters import HYPERPARAMETERS, ParamValue
from service.contract.search import (
    Choices,
    Distribution,
    FloatRange,
    GridSampler,
    IntRange,
    NoPruner,
    Pruner,
    Sampler,
    TpeSampler,
)
from service.contract.wire import Count, FieldError, Name, Reply, Text, Wire, nearest_name_hint, refuse

MAX_PARAMETERS = 64
MAX_TRIALS = 10_000

Task = Literal["text-classification"]
Direction = Literal["minimize", "maximize"]
Metric = Literal["validation_loss", "accuracy", "f1_macro", "matthews"]
StudyState = Literal["running", "paused", "stopping", "complete", "cancelled", "failed"]
Params = dict[str, ParamValue]

DIRECTIONS: dict[str, Direction] = {
    "validation_loss": "minimize",
    "accuracy": "maximize",
    "f1_macro": "maximize",
    "matthews": "maximize",
}


class Model(Wire):
    name: Text
    """A directory under an allowed root, or a name on the hub."""
    revision: Text | None = None
    """Commit, tag or branch on the hub; absent: the newest, pinned when the study is prepared."""


class Columns(Wire):
    text: Text = "text"
    label: Text = "label"


class Data(Wire):
    train: Text
    """A file (.csv, .jsonl, .parquet) or ``hub://owner/name[:config]#split``."""
    validation: Text | None = None
    """Absent: a stratified fifth of ``train``, drawn by the study's seed."""
    test: Text | None = None
    """Never seen by the search; the winner is scored on it once."""
    columns: Columns = Columns()
    max_length: Annotated[int, Field(ge=1, le=1_000_000)] = 128
    """Tokens; longer examples are truncated and counted."""


class Objective(Wire):
    metric: Metric = "validation_loss"
    direction: Direction | None = None
    """Absent: what the metric means, which is also the only one allowed."""

    @model_validator(mode="before")
    @classmethod
    def _fill_direction(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("direction") is None:
            metric = data.get("metric", "validation_loss")
            known = DIRECTIONS.get(metric) if isinstance(metric, str) else None
            return data | {"direction": known} if known else data
        return data

    @model_validator(mode="after")
    def _check(self) -> Self:
        right = DIRECTIONS[self.metric]
        if self.direction not in (None, right):
            refuse(
                "Objective",
                [(("direction",), f"{self.metric} is to {right}; drop direction", self.direction)],
            )
        return self


class Training(Wire):
    evaluations_per_epoch: Annotated[int, Field(ge=1, le=1_000)] = 1
    early_stopping_patience: Annotated[int, Field(ge=1, le=100_000)] | None = 3
    """Evaluations without a better value after which a trial ends; null: never."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """auto: bf16 where the device computes in it (CUDA 8.0 and newer), else fp32."""
    keep_models: Annotated[int, Field(ge=0, le=1)] = 1
    """1: the best model of the study is kept; 0: none."""


class StudySpec(Wire):
    """Everything that decides a study. Reading it back gives what was posted, defaults filled in."""

    name: Name | None = None
    task: Task
    model: Model
    data: Data
    objective: Objective = Objective()
    search_space: Annotated[dict[str, Distribution], Field(min_length=1, max_length=MAX_PARAMETERS)]
    fixed: Params = {}
    sampler: Sampler = TpeSampler()
    pruner: Pruner = NoPruner()
    n_trials: Annotated[int, Field(ge=1, le=MAX_TRIALS)] = 20
    n_parallel: Annotated[int, Field(ge=1, le=256)] | None = None
    """Trials at once; absent: as many as there are worker slots."""
    timeout_seconds: Annotated[float, Field(gt=0)] | None = None
    """From the study's creation; then no new trial starts and running ones end themselves."""
    target_value: float | None = None
    """A trial that reaches it ends the study."""
    baseline: bool = True
    """Trial 0 runs the defaults, so that the search has something to beat."""
    enqueue: Annotated[list[Params], Field(max_length=MAX_TRIALS)] = []
    """Params to try first; a searched parameter that is left out is drawn."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    training: Training = Training()

    @model_validator(mode="after")
    def _check(self) -> Self:
        errors = [
            *_space_errors(self.search_space),
            *_fixed_errors(self.fixed, self.search_space),
            *_grid_errors(self),
            *_enqueue_errors(self),
        ]
        refuse("StudySpec", errors)
        return self

    @property
    def direction(self) -> Direction:
        return DIRECTIONS[self.objective.metric]


def distribution_problem(distribution: Distribution, value: object) -> str | None:
    """Say why ``value`` lies outside ``distribution``, or ``None`` if it is inside."""
    if isinstance(distribution, Choices):
        inside = any(type(value) is type(choice) and value == choice for choice in distribution.choices)
        return None if inside else f"must be one of {', '.join(map(str, distribution.choices))}"
    whole = isinstance(distribution, IntRange)
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
        return f"must be {'a whole number' if whole else 'a number'}"
    if not distribution.low <= value <= distribution.high:
        return f"must lie in [{distribution.low:g}, {distribution.high:g}]"
    if distribution.step is None or (whole and distribution.step == 1):
        return None
    steps = (value - distribution.low) / distribution.step
    return None if abs(steps - round(steps)) < 1e-8 * max(1.0, steps) else f"must lie on the step {distribution.step:g}"


def _space_errors(space: dict[str, Distribution]) -> list[FieldError]:
    errors: list[FieldError] = []
    for name, distribution in space.items():
        known = HYPERPARAMETERS.get(name)
        if known is None:
            hint = nearest_name_hint(name, HYPERPARAMETERS)
            errors.append((("search_space", name), f"unknown hyperparameter{hint}", name))
            continue
        if known.type == "name" and not isinstance(distribution, Choices):
            errors.append((("search_space", name), f"{name} takes names; use type categorical", distribution.type))
            continue
        if known.type == "int" and isinstance(distribution, FloatRange):
            errors.append((("search_space", name), f"{name} is a whole number; use type int", distribution.type))
            continue
        for field, value in _edges(distribution):
            problem = known.problem(value)
            if problem:
                errors.append((("search_space", name, *field), f"{name} {problem}", value))
    return errors


def _edges(distribution: Distribution) -> list[tuple[tuple[str | int, ...], object]]:
    if isinstance(distribution, Choices):
        return [(("choices", index), choice) for index, choice in enumerate(distribution.choices)]
    return [(("low",), distribution.low), (("high",), distribution.high)]


def _fixed_errors(fixed: Params, space: dict[str, Distribution]) -> list[FieldError]:
    errors: list[FieldError] = []
    for name, value in fixed.items():
        known = HYPERPARAMETERS.get(name)
        if known is None:
            hint = nearest_name_hint(name, HYPERPARAMETERS)
            errors.append((("fixed", name), f"unknown hyperparameter{hint}", name))
        elif name in space:
            errors.append((("fixed", name), f"{name} is also in search_space; keep it in one place", value))
        elif problem := known.problem(value):
            errors.append((("fixed", name), f"{name} {problem}", value))
    return errors


def _grid_errors(spec: StudySpec) -> list[FieldError]:
    if not isinstance(spec.sampler, GridSampler):
        return []
    return [
        (
            ("search_space", name, "step"),
            "a grid needs the step of a float range (and no log); or list choices",
            None,
        )
        for name, distribution in spec.search_space.items()
        if isinstance(distribution, FloatRange) and distribution.step is None and distribution.low < distribution.high
    ]


def _enqueue_errors(spec: StudySpec) -> list[FieldError]:
    errors: list[FieldError] = []
    wanted = len(spec.enqueue) + spec.baseline
    if wanted > spec.n_trials:
        message = f"baseline and enqueued trials are {wanted}, more than n_trials = {spec.n_trials}; raise n_trials"
        errors.append((("enqueue",), message, wanted))
    for index, params in enumerate(spec.enqueue):
        for name, value in params.items():
            if name not in spec.search_space:
                hint = nearest_name_hint(name, spec.search_space)
                errors.append((("enqueue", index, name), f"not in search_space{hint}", value))
            elif problem := distribution_problem(spec.search_space[name], value):
                errors.append((("enqueue", index, name), f"{name} {problem}", value))
    return errors


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
    state: StudyState
    failure: Failure | None
    """Why a ``failed`` study failed."""
    spec: StudySpec
    facts: Facts | None
    trials: TrialCounts
    best: Best | None
    n_finished: Count
    elapsed_seconds: float
    """From creation to the end, or to now."""
    device_seconds: float
    """Summed over all attempts of all trials."""
    created_at: datetime
    finished_at: datetime | None
    warnings: list[str] = []


class StudyList(Reply):
    studies: list[Study]
    next_page_token: str | None


class Baseline(Reply):
    value: float | None
    params: Params


class BestTrial(Reply):
    """The answer of a study, with its evidence. Ties go to the lower number."""

    study: str
    number: Count
    value: float
    metric: Metric
    params: Params
    metrics: dict[str, float]
    """All metrics of the best evaluation; those of the test split are named ``test_…``."""
    step: Count
    epoch: float
    baseline: Baseline | None
    improvement: float | None
    """By how much ``value`` is better than the baseline's, in the metric's own unit; never negative."""
    trials: TrialCounts
    device_seconds: float
    model: str | None
    """Path of the model under this service; null when none is kept."""
    model_directory: str | None
    """Where the model lies on the service's machine."""
    training_arguments: dict[str, Any]
    """The same configuration in the names of transformers' ``TrainingArguments``."""
    generalization_gap: float | None
    """Validation loss minus training loss at the best evaluation, in nats."""
    warnings: list[str]
