"""What people post to create or change a study: `StudySpec`, checked in full before anything is stored."""

from collections.abc import Iterator
from itertools import chain
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from spezia.contract.confirm import MAX_TOP, Confirm
from spezia.contract.data import Data, column_errors
from spezia.contract.hyperparameters import ParamValue, describe_hyperparameters
from spezia.contract.objectives import (
    Constraint,
    Objective,
    Objectives,
    combination_errors,
    constraint_errors,
    objective_errors,
)
from spezia.contract.pruners import HyperbandPruner, MedianOptions, MedianPruner, NoPruner, Pruner, RungsPruner
from spezia.contract.ranges import SearchSpace
from spezia.contract.samplers import Sampler, TpeSampler, cost_errors, sampler_errors
from spezia.contract.space import each_dimension
from spezia.contract.space_rules import (
    condition_errors,
    enqueued_errors,
    fixed_errors,
    free_name_errors,
    method_errors,
    range_errors,
)
from spezia.contract.start_small import StartSmall
from spezia.contract.tasks import CLASS_TASKS, TRAINED_TASKS, Direction, Task, fill_columns
from spezia.contract.warm_start import WarmStart, why_no_warm_start
from spezia.contract.wire import MAX_EXACT, AtMost, FieldError, Name, Text, Wire, first_errors, refuse

_SEARCH_SPACE = """\
Ranges to search, by the name of the hyperparameter: one range, or a list of ranges of which each has a ``when`` that
excludes the others; at most 256 ranges can be posted. A script's params may have any Python names; every other task has
these hyperparameters:

"""

MAX_PARAMETERS = 64
"""Largest number of params that a study may search."""

MAX_RANGES = 256
"""Largest number of ranges of all parameters together that may be posted."""

MAX_ENQUEUED = 1_000
"""Largest number of params to try first that may be posted."""

MAX_ENQUEUED_VALUES = 10_000
"""Largest number of values that the trials of posted params to try first may have together: adding so many trials, each
with a value of every searched param, holds SQLite's lock for 0.1 s."""

POSTED = {"is": "posted"}
"""Context in which a service checks what is posted to it, by limits that a stored spec from before them may exceed."""

STORED = {"is": "stored"}
"""Context in which a service reads a spec that it has checked and stored: its fields are not compared with each other
again, which may take 100 ms."""

MAX_TRIALS = 100_000
"""Largest number of trials that a study may have."""

N_TRIALS_UNDER_RUNGS = 64
"""Number of trials of a study with the pruner ``rungs`` that does not say it."""

Seconds = Annotated[float, Field(gt=0, le=1e9)]
"""A time limit in seconds; at most some thirty years, so that a date can be computed from it."""

Params = dict[str, ParamValue]
"""Values of parameters by name."""


class Model(Wire):
    """The pretrained model that a study fine-tunes."""

    name: Text
    """Directory of the model under a folder that workers may read, ``sha256:…`` of an uploaded model, or its name on
    the Hugging Face hub."""
    revision: Text | None = None
    """Commit, tag or branch on the hub; when absent, the newest commit. All trials use the commit that was found when
    the study was prepared."""


class Training(Wire):
    """How the trials of a study are evaluated and ended, and what is kept of them."""

    evaluations_per_epoch: Annotated[int, Field(ge=1, le=1_000)] = 1
    """Number of evaluations on the validation split in each epoch."""
    early_stopping_patience: Annotated[int, Field(ge=1, le=100_000)] | None = 3
    """Number of evaluations in a row without a better value of the first objective after which a trial ends; null: no
    trial ends by itself."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Number format of the training; ``auto`` is bf16 on CUDA of compute capability 8.0 or newer, and fp32 elsewhere.
    ``bf16`` also works on a processor with AVX512-BF16 or AMX. The first worker decides for all trials of the study."""
    keep_models: Annotated[int, Field(ge=0, le=100)] = 1
    """Number of the study's best models that are kept while it runs; every other model is deleted at once. When
    absent in a study with ``confirm``, it is ``confirm.top``."""
    keep_models_bytes: Annotated[int, Field(ge=1, le=MAX_EXACT)] = 50 * 2**30
    """Largest size in bytes of all kept models of the study together; the best one is kept whatever its size."""
    class_weights: Literal["balanced"] | None = None
    """Weights of classes in the training loss. With ``balanced`` a target of class c weighs n / (k · n_c), of n
    training targets in k classes, n_c of them in c, so that a rare class counts as much as a frequent one; losses that
    are reported stay unweighted. Only texts, images or words of one class each can be weighed; null: all weigh the
    same."""
    similarity: bool = True
    """Whether to measure how well a linear probe on the untouched model does; one worker does so for some seconds while
    others train."""


def _refuse_too_many_posted(enqueue: Any, info: ValidationInfo) -> Any:
    """Refuse more params to try first than may be posted, before any of them is checked."""
    if info.context is POSTED and isinstance(enqueue, list) and len(enqueue) > MAX_ENQUEUED:
        message = (
            f"{len(enqueue)} params are listed to try first, more than {MAX_ENQUEUED}; "
            "post the others later, each to /v1/studies/{name}/trials"
        )
        refuse("StudySpec", [((), message, len(enqueue))])
    return enqueue


class StudySpec(Wire):
    """Everything that decides a study; reading it back gives what was posted, defaults filled in."""

    name: Name | None = None
    """Unique name of the study; when absent, the service makes one up."""
    task: Task
    """Task of the study: what its data are, which head the model gets, and which metrics are reported. A ``script``
    trains and reports by itself."""
    model: Model | None = None
    """Pretrained model to fine-tune; every task but ``script`` needs one."""
    data: Data | None = None
    """Data to train on; every task but ``script`` needs them."""
    script: Text | None = None
    """Python file with a function ``train(params, report)``, under a folder from which workers may run scripts; only
    the task ``script`` has one."""
    objective: Objectives = Objective()
    """Objective of the search, or a list of two to four, whose answer is their Pareto front."""
    constraints: Annotated[list[Constraint], Field(max_length=8)] = []
    """Limits that a trial must meet to be among the best."""
    preset: Text | None = None
    """Name of a preset of ``GET /v1/presets``. When the study is created, the preset's ranges and values are written
    into ``search_space`` and ``fixed``, except for params that these name themselves; later versions of the preset
    do not change the study."""
    search_space: Annotated[
        SearchSpace, AtMost(MAX_PARAMETERS), Field(description=_SEARCH_SPACE + describe_hyperparameters())
    ] = {}
    fixed: Params = {}
    """Values of params that all trials share, by name; a param is either here or in ``search_space``, and one that is
    in neither has its default."""
    sampler: Sampler = TpeSampler()
    """Sampler, which proposes the params of the next trial."""
    pruner: Pruner = MedianPruner(name="median")
    """Pruner, which ends trials early because of their values; ``rungs`` pauses them, and lets the best go on. When
    absent, it is ``median``; in a script, with several objectives, where the study searches or enqueues ``epochs``, and
    with too few trials for it to act, ``none``."""
    n_trials: Annotated[int, Field(ge=1, le=MAX_TRIALS)] = 20
    """Number of trials, however they end, the baseline and enqueued ones included. Under the pruner ``rungs``, where
    most trials end after their first rung, it is 64 when absent."""
    n_parallel: Annotated[int, Field(ge=1, le=256)] | None = None
    """Largest number of trials that run at once; when absent, as many as the workers can carry out."""
    timeout_seconds: Seconds | None = None
    """Seconds from the study's creation after which no new trial starts and running ones end; a pause stops the clock.
    When absent, there is no such limit."""
    device_seconds: Seconds | None = None
    """Device seconds that all attempts of all trials together may use; when absent, there is no such limit. When a
    trial starts it reserves 1.5 times what it will probably take, by its epochs and batch size and by the times of
    other trials; while none has reported, a quarter of what is left; and always at least an equal share of what is
    left. It waits where others have reserved that, and ends as ``budget`` when it has used up what it reserved."""
    target_value: float | None = None
    """Value of the objective that is good enough: the study ends when a trial reaches it."""
    baseline: bool = True
    """Whether trial 0 runs the defaults, which no pruner ends, so that the search has something to beat. It begins
    second where there are params to try first (``enqueue``, ``warm_start``). A script has no defaults and so no
    baseline."""
    enqueue: Annotated[
        list[Params], Field(max_length=MAX_TRIALS, fail_fast=True), BeforeValidator(_refuse_too_many_posted)
    ] = []
    """Params to try first, one entry for each trial; searched params that an entry leaves out are drawn. At most 1,000
    can be posted, of 10,000 values of searched params together."""
    warm_start: WarmStart = "none"
    """Finished studies of which up to 4 of the best trials run first here, behind what is enqueued: studies by name,
    ``auto`` for those of the same owner that are most alike, or ``none``. They share task, method, metric and at least
    one searched param with this one. With ``auto``, scripts, grids and studies of several objectives begin as with
    ``none``."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Seed of all randomness: splits, proposals, initial weights, dropout and the order of the data."""
    start_small: StartSmall | None = None
    """Small runs on a fraction of the data before the full trials; when absent, there are none."""
    confirm: Confirm | None = None
    """Runs of the best trials and of the baseline under fresh seeds, when the search has ended; when absent, there are
    none."""
    training: Training = Training()
    """How trials are evaluated and ended, and which models are kept."""

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, body: Any) -> Any:
        if not isinstance(body, dict):
            return body
        body = _with_keep_models(_with_pruner(_with_n_trials(body)))
        task, data = body.get("task"), body.get("data")
        if task == "script":
            return {"baseline": False} | body
        if isinstance(data, Data):
            data = data.model_dump(exclude_unset=True)
        if task not in TRAINED_TASKS or not isinstance(data, dict) or not isinstance(data.get("columns", {}), dict):
            return body
        return body | {"data": data | {"columns": fill_columns(task, data.get("columns", {}))}}

    @model_validator(mode="after")
    def _check(self, info: ValidationInfo) -> Self:
        if info.context is STORED:
            return self
        if info.context is POSTED:
            refuse("StudySpec", _posting_errors(self))
        refuse("StudySpec", _task_errors(self))
        refuse("StudySpec", _space_errors(self))
        return self

    @property
    def objectives(self) -> list[Objective]:
        """All objectives; the first one chooses each trial's best evaluation."""
        return self.objective if isinstance(self.objective, list) else [self.objective]

    @property
    def metric(self) -> str:
        """Metric of the first objective."""
        return self.objectives[0].metric

    @property
    def direction(self) -> Direction:
        """Direction of the first objective."""
        return self.directions[0]

    @property
    def directions(self) -> list[Direction]:
        """Directions of all objectives, in order."""
        return [one.direction for one in self.objectives if one.direction is not None]

    @property
    def starts_warm(self) -> bool:
        """Whether the study begins with trials of others, if there are any."""
        return self.warm_start != "none" and why_no_warm_start(self.task, self.objectives, self.sampler) is None

    @property
    def wanted_metrics(self) -> list[str]:
        """Metrics of all objectives and constraints, each once; that of the first objective comes first."""
        named = [*(one.metric for one in self.objectives), *(one.metric for one in self.constraints)]
        return list(dict.fromkeys(named))


def _with_n_trials(body: dict[str, Any]) -> dict[str, Any]:
    """Fill in how many trials a study begins whose pruner is ``rungs``."""
    pruner = body.get("pruner")
    name = pruner.get("name") if isinstance(pruner, dict) else getattr(pruner, "name", None)
    return {"n_trials": N_TRIALS_UNDER_RUNGS} | body if name == "rungs" else body


def _with_pruner(body: dict[str, Any]) -> dict[str, Any]:
    """Fill in that nothing is pruned, where the median of other trials cannot or need not be asked for."""
    n_trials = body.get("n_trials")
    has_several = isinstance(body.get("objective"), list)
    has_few = isinstance(n_trials, int) and n_trials <= MedianOptions().n_startup_trials
    space, enqueued = body.get("search_space"), body.get("enqueue")
    listed = enqueued if isinstance(enqueued, list) else []
    # trials of different epochs compare badly, and the sampler takes those that are spared for the better ones
    searches_epochs = any(isinstance(one, dict) and "epochs" in one for one in (space, *listed))
    if body.get("task") == "script" or has_several or has_few or searches_epochs:
        return {"pruner": NoPruner()} | body
    return body


def _with_keep_models(body: dict[str, Any]) -> dict[str, Any]:
    """Fill in how many models a study keeps whose winner is confirmed, if it does not say it: one of each that may
    win."""
    confirm, training = body.get("confirm"), body.get("training", {})
    if isinstance(training, Training):
        training = training.model_dump(exclude_unset=True)
    top = confirm.get("top", Confirm().top) if isinstance(confirm, dict) else getattr(confirm, "top", None)
    if top not in range(1, MAX_TOP + 1) or not isinstance(training, dict) or "keep_models" in training:
        return body
    return body | {"training": training | {"keep_models": top}}


def _unless_checked(spec: Any, check: ValidatorFunctionWrapHandler) -> Any:
    return spec if isinstance(spec, StudySpec) else check(spec)


CheckedSpec = Annotated[StudySpec, WrapValidator(_unless_checked)]
"""A spec inside a reply: one that is a `StudySpec` already is valid and not checked again."""


def _task_errors(spec: StudySpec) -> list[FieldError]:
    """Find fields that the task needs and lacks, or does not use."""
    errors = [
        *objective_errors(spec.task, spec.objective),
        *constraint_errors(spec.task, spec.constraints),
        *combination_errors(spec.objectives, spec.constraints, spec.sampler, spec.pruner, spec.target_value),
    ]
    given = {"model": spec.model, "data": spec.data, "script": spec.script}
    needed = ("script",) if spec.task == "script" else ("model", "data")
    for name, value in given.items():
        if name in needed and value is None:
            errors.append(((name,), f"the task {spec.task} needs {name}; give it", None))
        elif name not in needed and value is not None:
            hint = " or pass it to the script in fixed" if spec.task == "script" else ""
            errors.append(((name,), f"the task {spec.task} does not use {name}; drop it{hint}", str(value)))
    if spec.task == "script" and spec.baseline:
        errors.append(
            (
                ("baseline",),
                "a script has no defaults for a baseline; drop baseline, and list params to try first in enqueue",
                True,
            )
        )
    if spec.task == "script" and isinstance(spec.pruner, HyperbandPruner) and spec.pruner.options.max_resource is None:
        message = "it is not known how often a script reports; give the number of reports of its longest trial"
        errors.append((("pruner", "options", "max_resource"), message, None))
    if spec.task == "script" and isinstance(spec.pruner, RungsPruner):
        message = "a script saves no checkpoint from which it could go on after a pause; use successive-halving"
        errors.append((("pruner", "name"), message, spec.pruner.name))
    if spec.task == "text-regression":
        errors += [
            (
                (place, "label_smoothing"),
                "text-regression has no classes whose labels could be smoothed; drop label_smoothing",
                None,
            )
            for place, names in (("search_space", spec.search_space), ("fixed", spec.fixed))
            if "label_smoothing" in names
        ]
    if isinstance(spec.warm_start, list) and (why := why_no_warm_start(spec.task, spec.objectives, spec.sampler)):
        errors.append((("warm_start",), why, None))
    if spec.training.class_weights is not None and spec.task not in CLASS_TASKS:
        message = f"{spec.task} has no classes to be weighed; drop class_weights"
        errors.append((("training", "class_weights"), message, spec.training.class_weights))
    if spec.data is not None and spec.task != "script":
        errors += column_errors(spec.task, spec.data)
    errors += _confirm_errors(spec)
    if spec.start_small is not None and spec.task == "script":
        errors.append(
            (
                ("start_small",),
                "a script reads its data itself, so it cannot be given a fraction of them; drop start_small",
                None,
            )
        )
    else:
        errors += _start_small_errors(spec)
    return errors


def _posting_errors(spec: StudySpec) -> list[FieldError]:
    """Find what would cost a service too much."""
    errors = cost_errors(spec.sampler, len(spec.objectives))
    n_ranges = sum(1 for _ in each_dimension(spec.search_space))
    if n_ranges > MAX_RANGES:
        message = f"the search space has {n_ranges} ranges, more than {MAX_RANGES}; leave out conditions"
        errors.append((("search_space",), message, n_ranges))
    n_values = len(spec.enqueue) * len(spec.search_space)
    if n_values > MAX_ENQUEUED_VALUES:
        message = (
            f"{len(spec.enqueue)} trials of {len(spec.search_space)} searched params to try first are more than "
            f"{MAX_ENQUEUED_VALUES} values; list {MAX_ENQUEUED_VALUES // len(spec.search_space)} at most, and "
            "post the others later, each to /v1/studies/{name}/trials"
        )
        errors.append((("enqueue",), message, n_values))
    return errors


def _space_errors(spec: StudySpec) -> Iterator[FieldError]:
    if spec.task == "script":
        yield from free_name_errors(spec.fixed, spec.search_space)
    else:
        yield from range_errors(spec.search_space)
        yield from fixed_errors(spec.fixed, spec.search_space)
    if spec.preset is None:
        yield from whole_space_errors(spec)


def whole_space_errors(spec: StudySpec) -> list[FieldError]:
    """Find what is wrong with a whole search space; of a spec with a preset, once the preset is filled in."""
    if not spec.search_space:
        return [(("search_space",), "search_space must have at least 1 parameter; give ranges, or name a preset", {})]
    errors = condition_errors(spec.search_space, spec.fixed)
    if not errors and spec.task != "script":
        errors = method_errors(spec.search_space, spec.fixed)
    found = chain(errors, sampler_errors(spec.sampler, spec.search_space), () if errors else _enqueue_errors(spec))
    return first_errors(found)


def limit_errors(spec: StudySpec) -> list[FieldError]:
    """Find what its own limits do not leave room for, in a spec that was valid before they changed."""
    return [*_start_small_errors(spec), *_n_enqueued_errors(spec)]


def _confirm_errors(spec: StudySpec) -> Iterator[FieldError]:
    if spec.confirm is None:
        return
    if spec.task == "script":
        yield ("confirm",), "a script draws its random numbers itself, so it has no fresh seeds; drop confirm", None
    elif len(spec.objectives) > 1:
        message = (
            "several objectives have no single winner that could be confirmed; drop confirm, or keep one objective"
        )
        yield ("confirm",), message, None
    elif not spec.baseline:
        yield (
            ("baseline",),
            "confirm compares the winner with the baseline; set baseline to true, or drop confirm",
            False,
        )


def _start_small_errors(spec: StudySpec) -> Iterator[FieldError]:
    if spec.start_small is not None and spec.start_small.trials > spec.n_trials:
        message = f"start_small.trials is larger than n_trials = {spec.n_trials}; lower it"
        yield ("start_small", "trials"), message, spec.start_small.trials


def _n_enqueued_errors(spec: StudySpec) -> Iterator[FieldError]:
    wanted = len(spec.enqueue) + spec.baseline
    if wanted > spec.n_trials:
        message = (
            f"baseline and enqueued trials together are {wanted}, more than n_trials = {spec.n_trials}; raise n_trials"
        )
        yield ("enqueue",), message, wanted


def _enqueue_errors(spec: StudySpec) -> Iterator[FieldError]:
    yield from _n_enqueued_errors(spec)
    for path, message, value in enqueued_errors(spec.search_space, spec.enqueue, spec.fixed):
        yield ("enqueue", *path), message, value


def params_errors(spec: StudySpec, params: Params) -> list[FieldError]:
    """Find what keeps ``params`` from being tried in a study; each error's field is the name of a param."""
    return [
        (path[1:], message, value) for path, message, value in enqueued_errors(spec.search_space, [params], spec.fixed)
    ]


class StudyChange(Wire):
    """New limits of a study; a limit that is left out stays as it is, and null removes it."""

    n_trials: Annotated[int, Field(ge=1, le=MAX_TRIALS)] | None = None
    """Number of trials, however they end; it cannot be null."""
    n_parallel: Annotated[int, Field(ge=1, le=256)] | None = None
    """Largest number of trials that run at once; null: as many as the workers can carry out."""
    timeout_seconds: Seconds | None = None
    """Seconds from the study's creation after which no new trial starts and running ones end, pauses not counted; null:
    no such limit."""
    device_seconds: Seconds | None = None
    """Device seconds that all attempts of all trials together may use; null: no such limit."""
