"""What a person asks for: `StudySpec`, checked in full before anything is stored."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidatorFunctionWrapHandler, WrapValidator, model_validator

from spezia.contract.data import Data, column_errors
from spezia.contract.hyperparameters import ParamValue
from spezia.contract.objectives import (
    Constraint,
    Objective,
    Objectives,
    combination_errors,
    constraint_errors,
    objective_errors,
)
from spezia.contract.pruners import HyperbandPruner, NoPruner, Pruner
from spezia.contract.ranges import SearchSpace
from spezia.contract.samplers import Sampler, TpeSampler, sampler_errors
from spezia.contract.space_rules import (
    condition_errors,
    enqueued_problem,
    fixed_errors,
    free_name_errors,
    method_errors,
    range_errors,
)
from spezia.contract.start_small import StartSmall
from spezia.contract.tasks import TRAINED_TASKS, Direction, Task, fill_columns
from spezia.contract.wire import FieldError, Name, Text, Wire, refuse

MAX_PARAMETERS = 64


MAX_TRIALS = 100_000


Seconds = Annotated[float, Field(gt=0, le=1e9)]
"""A budget; at most some thirty years, so that a date can be told."""


Params = dict[str, ParamValue]


class Model(Wire):
    name: Text
    """A directory under an allowed root, or a name on the hub."""
    revision: Text | None = None
    """Commit, tag or branch on the hub; absent: the newest, pinned when the study is prepared."""


class Training(Wire):
    evaluations_per_epoch: Annotated[int, Field(ge=1, le=1_000)] = 1
    early_stopping_patience: Annotated[int, Field(ge=1, le=100_000)] | None = 3
    """Evaluations without a better value after which a trial ends; null: never."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """auto: bf16 where the device computes in it (CUDA 8.0 and newer), else fp32."""
    keep_models: Annotated[int, Field(ge=0, le=100)] = 1
    """How many of the study's best models are kept while it runs; every other one is deleted at once."""
    keep_models_bytes: Annotated[int, Field(ge=1, le=2**53)] = 50 * 2**30
    """All kept models of the study together; the best one is kept whatever its size."""
    similarity: bool = True
    """Measure before the first trial how well a linear probe on the untouched model does: a few seconds."""


class StudySpec(Wire):
    """Everything that decides a study. Reading it back gives what was posted, defaults filled in."""

    name: Name | None = None
    task: Task
    model: Model | None = None
    """What every task but ``script`` fine-tunes."""
    data: Data | None = None
    """What every task but ``script`` reads."""
    script: Text | None = None
    """Of the task ``script``: the Python file with ``train(params, report)``, under a folder that workers run
    scripts from."""
    objective: Objectives = Objective()
    """A list of several asks for their Pareto front."""
    constraints: Annotated[list[Constraint], Field(max_length=8)] = []
    """What a trial must meet to be among the best."""
    preset: Text | None = None
    """A name of ``GET /v1/presets``. When the study is created its ranges and values are written into ``search_space``
    and ``fixed``, except where these say otherwise; from then on the study owns them."""
    search_space: Annotated[SearchSpace, Field(max_length=MAX_PARAMETERS)] = {}
    fixed: Params = {}
    sampler: Sampler = TpeSampler()
    pruner: Pruner = NoPruner()
    n_trials: Annotated[int, Field(ge=1, le=MAX_TRIALS)] = 20
    n_parallel: Annotated[int, Field(ge=1, le=256)] | None = None
    """Trials at once; absent: as many as there are worker slots."""
    timeout_seconds: Seconds | None = None
    """From the study's creation; then no new trial starts and running ones end themselves."""
    device_seconds: Seconds | None = None
    """For all attempts of all trials together. A trial reserves its estimate when it starts: 1.5 times the longest
    so far; until one has ended, a quarter of what is left, at least an equal share. It ends itself as ``budget`` when
    that is used up, and none starts that what is left does not do for."""
    target_value: float | None = None
    """A trial that reaches it ends the study."""
    baseline: bool = True
    """Trial 0 runs the defaults, so that the search has something to beat."""
    enqueue: Annotated[list[Params], Field(max_length=MAX_TRIALS)] = []
    """Params to try first; a searched parameter that is left out is drawn."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    start_small: StartSmall | None = None
    """Absent: every trial runs in full at once."""
    training: Training = Training()

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, body: Any) -> Any:
        if not isinstance(body, dict):
            return body
        task, data = body.get("task"), body.get("data")
        if task == "script":
            return {"baseline": False} | body
        if task not in TRAINED_TASKS or not isinstance(data, dict) or not isinstance(data.get("columns", {}), dict):
            return body
        return body | {"data": data | {"columns": fill_columns(task, data.get("columns", {}))}}

    @model_validator(mode="after")
    def _check(self) -> Self:
        refuse("StudySpec", _task_errors(self))
        if self.task == "script":
            errors = free_name_errors(self.fixed, self.search_space)
        else:
            errors = [*range_errors(self.search_space), *fixed_errors(self.fixed, self.search_space)]
        if self.preset is None:
            errors += whole_space_errors(self)
        refuse("StudySpec", errors)
        return self

    @property
    def objectives(self) -> list[Objective]:
        """One or several; the first chooses a trial's evaluation."""
        return self.objective if isinstance(self.objective, list) else [self.objective]

    @property
    def metric(self) -> str:
        """Of the first objective."""
        return self.objectives[0].metric

    @property
    def direction(self) -> Direction:
        """Of the first objective."""
        return self.directions[0]

    @property
    def directions(self) -> list[Direction]:
        """Of all objectives."""
        return [one.direction for one in self.objectives if one.direction is not None]

    @property
    def wanted_metrics(self) -> list[str]:
        """What objectives and constraints are made of, the first objective's first, each once."""
        named = [*(one.metric for one in self.objectives), *(one.metric for one in self.constraints)]
        return list(dict.fromkeys(named))


def _unless_checked(spec: Any, check: ValidatorFunctionWrapHandler) -> Any:
    return spec if isinstance(spec, StudySpec) else check(spec)


CheckedSpec = Annotated[StudySpec, WrapValidator(_unless_checked)]
"""A spec inside a reply. Whoever makes the reply has one that is valid, and pydantic would check it again."""


def _task_errors(spec: StudySpec) -> list[FieldError]:
    """Fields that the task needs and lacks, or has no use for."""
    errors = [
        *objective_errors(spec.task, spec.objective),
        *constraint_errors(spec.task, spec.constraints),
        *combination_errors(spec.objectives, spec.constraints, spec.sampler, spec.pruner, spec.target_value),
    ]
    given = {"model": spec.model, "data": spec.data, "script": spec.script}
    needed = ("script",) if spec.task == "script" else ("model", "data")
    for name, value in given.items():
        if name in needed and value is None:
            errors.append(((name,), f"a study of the task {spec.task} needs it", None))
        elif name not in needed and value is not None:
            hint = "; hand it over as a fixed param" if spec.task == "script" else ""
            errors.append(((name,), f"the task {spec.task} has no use for it; drop it{hint}", str(value)))
    if spec.task == "script" and spec.baseline:
        errors.append((("baseline",), "a script has no defaults to begin with; list params in enqueue instead", True))
    if spec.task == "script" and isinstance(spec.pruner, HyperbandPruner) and spec.pruner.options.max_resource is None:
        message = "how often a script reports is not known; give the steps of its longest trial"
        errors.append((("pruner", "options", "max_resource"), message, None))
    if spec.task == "text-regression":
        errors += [
            ((place, "label_smoothing"), "numbers have no classes to smooth; drop it", None)
            for place, names in (("search_space", spec.search_space), ("fixed", spec.fixed))
            if "label_smoothing" in names
        ]
    if spec.data is not None and spec.task != "script":
        errors += column_errors(spec.task, spec.data)
    if spec.start_small is not None and spec.task == "script":
        errors.append((("start_small",), "a script reads its data itself; drop it", None))
    elif spec.start_small is not None and spec.start_small.trials > spec.n_trials:
        message = f"more than n_trials = {spec.n_trials}; lower it"
        errors.append((("start_small", "trials"), message, spec.start_small.trials))
    return errors


def whole_space_errors(spec: StudySpec) -> list[FieldError]:
    """What can only be checked on the whole search space, so of a spec with a preset once that is filled in."""
    if not spec.search_space:
        return [(("search_space",), "should have at least 1 parameter; give ranges, or a preset", {})]
    errors = condition_errors(spec.search_space, spec.fixed)
    if not errors and spec.task != "script":
        errors = method_errors(spec.search_space, spec.fixed)
    return [*errors, *sampler_errors(spec.sampler, spec.search_space), *([] if errors else _enqueue_errors(spec))]


def _enqueue_errors(spec: StudySpec) -> list[FieldError]:
    errors: list[FieldError] = []
    wanted = len(spec.enqueue) + spec.baseline
    if wanted > spec.n_trials:
        message = f"baseline and enqueued trials are {wanted}, more than n_trials = {spec.n_trials}; raise n_trials"
        errors.append((("enqueue",), message, wanted))
    for index, params in enumerate(spec.enqueue):
        errors += [(("enqueue", index, *loc), message, value) for loc, message, value in params_errors(spec, params)]
    return errors


def params_errors(spec: StudySpec, params: Params) -> list[FieldError]:
    """What keeps given params from being tried in a study; fields are names of params."""
    errors: list[FieldError] = []
    for name, value in params.items():
        if problem := enqueued_problem(spec.search_space, name, params, spec.fixed):
            errors.append(((name,), problem, value))
    return errors


class StudyChange(Wire):
    """New limits of a study. What is left out stays; null lifts a limit (``n_trials`` has to have one)."""

    n_trials: Annotated[int, Field(ge=1, le=MAX_TRIALS)] | None = None
    n_parallel: Annotated[int, Field(ge=1, le=256)] | None = None
    timeout_seconds: Seconds | None = None
    device_seconds: Seconds | None = None
