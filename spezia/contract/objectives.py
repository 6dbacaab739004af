"""Objectives, which a study optimises, and constraints, which its best trials must meet."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Self

from pydantic import Discriminator, Field, Tag, model_validator

from spezia.contract.pruners import NoPruner, Pruner
from spezia.contract.samplers import CmaEsSampler, MultiFidelitySampler, Sampler
from spezia.contract.tasks import DIRECTIONS, TASKS, Direction, Task
from spezia.contract.wire import ONE, SEVERAL, FieldError, Text, Wire, nearest_name_hint, one_or_several, refuse

DEVICE_SECONDS = "device_seconds"
"""Metric for the device seconds of all attempts of a trial together, known when it has ended."""

GAP = "generalization_gap"
"""Metric for validation loss minus training loss, in nats."""

CACHED_ROWS = "cached_rows"
"""Figure that stands beside a trial's metrics and is none: how many rows, training and validation, the trial has read
from the cache of frozen blocks instead of computing these blocks; 0 where the cache could not be used."""

BESIDE: dict[str, Direction] = {"train_loss": "minimize", GAP: "minimize", DEVICE_SECONDS: "minimize"}
"""Metrics of every task that may be a further objective or a constraint, with their directions. As the only objective
they would favour a model that has memorised the training data, or that has learnt nothing."""

_KNOWN_DIRECTIONS = DIRECTIONS | BESIDE


class Objective(Wire):
    """A metric to optimise, and in which direction."""

    metric: Text = "validation_loss"
    """Name of the metric: one of the task's, or, for a script, any that it reports. An objective after the first may
    also be ``train_loss``, ``generalization_gap`` or ``device_seconds``."""
    direction: Direction | None = None
    """Direction of the optimisation. A known metric has one direction, which is also used when this is absent; a metric
    that only a script knows needs it."""

    @model_validator(mode="before")
    @classmethod
    def _fill_direction(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("direction") is None:
            metric = data.get("metric", "validation_loss")
            known = _KNOWN_DIRECTIONS.get(metric) if isinstance(metric, str) else None
            return data | {"direction": known} if known else data
        return data

    @model_validator(mode="after")
    def _check(self) -> Self:
        right = _KNOWN_DIRECTIONS.get(self.metric)
        if right is not None and self.direction != right:
            refuse(
                "Objective",
                [(("direction",), f"the direction of {self.metric} is {right}; drop direction", self.direction)],
            )
        return self

    @property
    def sign(self) -> int:
        """Factor that makes a lower value the better one: 1 or -1."""
        return 1 if self.direction == "minimize" else -1


Objectives = Annotated[
    Annotated[Objective, Tag(ONE)] | Annotated[list[Objective], Field(min_length=2, max_length=4), Tag(SEVERAL)],
    Discriminator(one_or_several),
]
"""One objective, or a list of several. The first one chooses each trial's best evaluation, and the values of all
objectives are those of that evaluation."""


Limit = Annotated[float, Field(ge=-1e100, le=1e100)]
"""Limit of a constraint, so bounded that its difference to a metric is a number."""


class Constraint(Wire):
    """A limit that a trial's best evaluation must meet for the trial to be among the best."""

    metric: Annotated[Text, Field(max_length=200)]
    """Name of the metric: one of the task's, or ``train_loss``, ``generalization_gap`` or ``device_seconds``; for a
    script any that it reports."""
    at_most: Limit | None = None
    """Largest value that meets the constraint; give this or ``at_least``."""
    at_least: Limit | None = None
    """Smallest value that meets the constraint; give this or ``at_most``."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.at_most is None) == (self.at_least is None):
            refuse("Constraint", [(("at_most",), "give either at_most or at_least", self.at_most)])
        return self

    @property
    def name(self) -> str:
        """The constraint in symbols, as people and Optuna's tools read it."""
        return f"{self.metric} >= {self.at_least!r}" if self.at_most is None else f"{self.metric} <= {self.at_most!r}"

    def excess(self, value: float) -> float:
        """Return by how much ``value`` misses the limit; 0 or less where it meets it, as in Optuna."""
        if self.at_most is not None:
            return value - self.at_most
        assert self.at_least is not None
        return self.at_least - value


def measured(metric: str, metrics: Mapping[str, float]) -> float | None:
    """Return a metric of an evaluation; ``None`` where it was not reported.

    The generalization gap is computed from validation and training loss where it was not reported itself.
    """
    if metric in metrics or metric != GAP:
        return metrics.get(metric)
    losses = metrics.get("validation_loss"), metrics.get("train_loss")
    return None if losses[0] is None or losses[1] is None else losses[0] - losses[1]


def missing_metrics(wanted: Sequence[str], metrics: Mapping[str, float]) -> list[str]:
    """Return the ``wanted`` metrics that an evaluation lacks; device seconds are known later and never missing."""
    return [metric for metric in wanted if metric != DEVICE_SECONDS and measured(metric, metrics) is None]


def objective_errors(task: Task, objective: Objective | list[Objective]) -> list[FieldError]:
    """Find objectives whose metric the task does not report, that are listed twice, or that cannot come first."""
    if isinstance(objective, Objective):
        return [(("objective", *path), *rest) for path, *rest in _errors_of_one(task, objective, is_first=True)]
    errors: list[FieldError] = []
    for index, one in enumerate(objective):
        found = list(_errors_of_one(task, one, is_first=index == 0))
        if any(one.metric == other.metric for other in objective[:index]):
            found = [(("metric",), f"{one.metric} is listed twice; list it once", one.metric)]
        errors += [(("objective", index, *path), message, value) for path, message, value in found]
    return errors


def constraint_errors(task: Task, constraints: Sequence[Constraint]) -> list[FieldError]:
    """Find constraints on metrics that the task does not report, and limits that are pointless or contradictory."""
    errors: list[FieldError] = []
    for index, one in enumerate(constraints):
        path = ("constraints", index)
        known = _metrics_of(task)
        others = [other for other in constraints[:index] if other.metric == one.metric]
        if task != "script" and one.metric not in (*known, *BESIDE):
            errors.append(((*path, "metric"), _not_reported(task, one.metric, (*known, *BESIDE)), one.metric))
        elif one.metric == DEVICE_SECONDS and one.at_most is None:
            errors.append(
                ((*path, "at_least"), "a lower limit on the cost of a trial is pointless; give at_most", one.at_least)
            )
        elif any((other.at_most is None) == (one.at_most is None) for other in others):
            errors.append(((*path, "metric"), f"{one.metric} has two limits on the same side; keep one", one.metric))
        elif any(
            one.excess(limit) > 0 for other in others for limit in (other.at_most, other.at_least) if limit is not None
        ):
            message = f"no value meets both {one.name} and {others[0].name}; widen one"
            errors.append(((*path, "metric"), message, one.metric))
    return errors


def combination_errors(
    objectives: Sequence[Objective],
    constraints: Sequence[Constraint],
    sampler: Sampler,
    pruner: Pruner,
    target_value: float | None,
) -> list[FieldError]:
    """Find what cannot be combined with several objectives or with constraints."""
    errors: list[FieldError] = []
    if isinstance(sampler, CmaEsSampler | MultiFidelitySampler) and (len(objectives) > 1 or constraints):
        message = f"{sampler.name} supports neither several objectives nor constraints; use tpe, gp, nsga2 or nsga3"
        errors.append((("sampler", "name"), message, sampler.name))
    if len(objectives) > 1 and not isinstance(pruner, NoPruner):
        message = (
            "a pruner compares trials by one objective, and this study has several; use the pruner none. "
            "training.early_stopping_patience still ends trials, by the first objective"
        )
        errors.append((("pruner", "name"), message, pruner.name))
    if len(objectives) > 1 and target_value is not None:
        message = "a study with several objectives has no single target_value; drop it, or set limits in constraints"
        errors.append((("target_value",), message, target_value))
    return errors


def _errors_of_one(task: Task, objective: Objective, *, is_first: bool) -> Iterator[FieldError]:
    metric, known = objective.metric, _metrics_of(task)
    if is_first and (metric == DEVICE_SECONDS or (metric in BESIDE and task != "script")):
        first = "a metric that train reports" if task == "script" else ", ".join(known)
        message = (
            f"{metric} cannot be the first objective, which chooses each trial's best evaluation and so its model; "
            f"list it after another one, or use it in constraints. The first may be {first}"
        )
        yield (("metric",), message, metric)
    elif task == "script":
        if objective.direction is None:
            yield (("direction",), f"the direction of {metric} is not known; give minimize or maximize", None)
    elif metric not in (*known, *BESIDE):
        yield (("metric",), _not_reported(task, metric, known), metric)


def _metrics_of(task: Task) -> tuple[str, ...]:
    return ("validation_loss", *TASKS[task].metrics)


def _not_reported(task: Task, metric: str, known: Sequence[str]) -> str:
    others = ", ".join(other for other, contract in TASKS.items() if metric in contract.metrics)
    if others:
        return f"{metric} is a metric of {others}, not of {task}; use one of {', '.join(known)}"
    return f"unknown metric{nearest_name_hint(metric, known)}"
