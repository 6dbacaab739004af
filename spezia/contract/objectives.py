"""What a study optimises and what it insists on, and how the metrics of an evaluation answer both."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Self

from pydantic import Discriminator, Field, Tag, model_validator

from spezia.contract.pruners import NoPruner, Pruner
from spezia.contract.samplers import CmaEsSampler, Sampler
from spezia.contract.tasks import DIRECTIONS, TASKS, Direction, Task
from spezia.contract.wire import ONE, SEVERAL, FieldError, Text, Wire, nearest_name_hint, one_or_several, refuse

DEVICE_SECONDS = "device_seconds"
"""What a trial cost, all its attempts together; known when it has ended."""

GAP = "generalization_gap"

BESIDE: dict[str, Direction] = {"train_loss": "minimize", GAP: "minimize", DEVICE_SECONDS: "minimize"}
"""Metrics of every task that may stand beside another objective, or in a constraint. Alone they would be best of a
model that has learnt the training data by heart, or nothing, or in no time."""

_KNOWN_DIRECTIONS = DIRECTIONS | BESIDE


class Objective(Wire):
    metric: Text = "validation_loss"
    """One of the task's metrics; of a script any name that it reports. Behind a first objective also ``train_loss``,
    ``generalization_gap`` and ``device_seconds``."""
    direction: Direction | None = None
    """Absent: what the metric means, which is also the only one allowed. A metric that only a script knows
    needs it."""

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
                [(("direction",), f"{self.metric} is to {right}; drop direction", self.direction)],
            )
        return self

    @property
    def sign(self) -> int:
        """What makes a lower value the better one."""
        return 1 if self.direction == "minimize" else -1


Objectives = Annotated[
    Annotated[Objective, Tag(ONE)] | Annotated[list[Objective], Field(min_length=2, max_length=4), Tag(SEVERAL)],
    Discriminator(one_or_several),
]
"""One; or several, of which the first chooses a trial's evaluation: the values of all are those of that one."""


Limit = Annotated[float, Field(ge=-1e100, le=1e100)]
"""So that no difference to a metric overflows."""


class Constraint(Wire):
    """What a trial's evaluation must meet to be among the best: a limit on any metric that is reported."""

    metric: Annotated[Text, Field(max_length=200)]
    at_most: Limit | None = None
    at_least: Limit | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.at_most is None) == (self.at_least is None):
            refuse("Constraint", [(("at_most",), "give one of at_most and at_least", self.at_most)])
        return self

    @property
    def name(self) -> str:
        """As people and Optuna's tools read it."""
        return f"{self.metric} >= {self.at_least!r}" if self.at_most is None else f"{self.metric} <= {self.at_most!r}"

    def excess(self, value: float) -> float:
        """By how much a value misses the limit; 0 or less where it is met, as Optuna has it."""
        if self.at_most is not None:
            return value - self.at_most
        assert self.at_least is not None
        return self.at_least - value


def measured(metric: str, metrics: Mapping[str, float]) -> float | None:
    """A metric of an evaluation; the gap is validation loss minus training loss, in nats, where not reported itself."""
    if metric in metrics or metric != GAP:
        return metrics.get(metric)
    losses = metrics.get("validation_loss"), metrics.get("train_loss")
    return None if losses[0] is None or losses[1] is None else losses[0] - losses[1]


def missing_metrics(wanted: Sequence[str], metrics: Mapping[str, float]) -> list[str]:
    """Those of ``wanted`` that an evaluation does not tell; what a trial cost is not the evaluation's to tell."""
    return [metric for metric in wanted if metric != DEVICE_SECONDS and measured(metric, metrics) is None]


def objective_errors(task: Task, objective: Objective | list[Objective]) -> list[FieldError]:
    """Metrics that the task does not report, that are listed twice, or that cannot come first."""
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
    """Metrics that the task does not report, and limits that cannot be met together or mean nothing."""
    errors: list[FieldError] = []
    for index, one in enumerate(constraints):
        path = ("constraints", index)
        known = _metrics_of(task)
        others = [other for other in constraints[:index] if other.metric == one.metric]
        if task != "script" and one.metric not in (*known, *BESIDE):
            errors.append(((*path, "metric"), _not_reported(task, one.metric, (*known, *BESIDE)), one.metric))
        elif one.metric == DEVICE_SECONDS and one.at_most is None:
            errors.append(((*path, "at_least"), "a trial may be as cheap as it can; give at_most", one.at_least))
        elif any((other.at_most is None) == (one.at_most is None) for other in others):
            errors.append(((*path, "metric"), f"{one.metric} has such a limit already; keep one", one.metric))
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
    """What does not go together with several objectives or with constraints."""
    errors: list[FieldError] = []
    if isinstance(sampler, CmaEsSampler) and (len(objectives) > 1 or constraints):
        message = "cmaes knows one objective and no constraints; use tpe, gp, nsga2 or nsga3"
        errors.append((("sampler", "name"), message, sampler.name))
    if len(objectives) > 1 and not isinstance(pruner, NoPruner):
        message = (
            "a pruner compares trials by one number; with several objectives use none: "
            "training.early_stopping_patience ends trials by the first"
        )
        errors.append((("pruner", "name"), message, pruner.name))
    if len(objectives) > 1 and target_value is not None:
        message = "is of one objective; drop it, or say in constraints what is good enough"
        errors.append((("target_value",), message, target_value))
    return errors


def _errors_of_one(task: Task, objective: Objective, *, is_first: bool) -> Iterator[FieldError]:
    metric, known = objective.metric, _metrics_of(task)
    if is_first and (metric == DEVICE_SECONDS or (metric in BESIDE and task != "script")):
        first = "a metric that train reports" if task == "script" else ", ".join(known)
        message = (
            f"{metric} cannot come first: the first objective chooses a trial's evaluation, and so its model. "
            f"Put it behind another in a list, or into constraints; first may be {first}"
        )
        yield (("metric",), message, metric)
    elif task == "script":
        if objective.direction is None:
            yield (("direction",), f"say whether {metric} is to minimize or to maximize", None)
    elif metric not in (*known, *BESIDE):
        yield (("metric",), _not_reported(task, metric, known), metric)


def _metrics_of(task: Task) -> tuple[str, ...]:
    return ("validation_loss", *TASKS[task].metrics)


def _not_reported(task: Task, metric: str, known: Sequence[str]) -> str:
    others = ", ".join(other for other, contract in TASKS.items() if metric in contract.metrics)
    if others:
        return f"{task} does not report it: is a metric of {others}; {task} has {', '.join(known)}"
    return f"unknown{nearest_name_hint(metric, known)}"
