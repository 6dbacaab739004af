"""What a study trains on and what it optimises, and which of that fits its task."""

from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from service.contract.tasks import DIRECTIONS, TASKS, Direction, Task
from service.contract.wire import FieldError, Text, Wire, nearest_name_hint, refuse


class Data(Wire):
    train: Text
    """A file (.csv, .jsonl, .parquet), a folder of class folders (image-classification only), ``sha256:…`` of an
    upload, or ``hub://owner/name[:config]#split``."""
    validation: Text | None = None
    """Absent: a stratified fifth of ``train``, drawn by the study's seed."""
    test: Text | None = None
    """Never seen by the search; the winner is scored on it once."""
    columns: Annotated[dict[str, Text], Field(max_length=8)] = {}
    """What the data calls each column of the task; the task's own names where left out."""
    label_separator: Annotated[Text, Field(max_length=8)] | None = None
    """Of text-classification: what stands between the classes of a text that has several, as in CSV. Lists of
    classes (JSONL, Parquet) need none."""
    max_length: Annotated[int, Field(ge=1, le=1_000_000)] = 128
    """Tokens; longer examples are truncated and counted."""


class Objective(Wire):
    metric: Text = "validation_loss"
    """One of the task's metrics; of a script any name that it reports."""
    direction: Direction | None = None
    """Absent: what the metric means, which is also the only one allowed. A metric that only a script knows
    needs it."""

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
        right = DIRECTIONS.get(self.metric)
        if right is not None and self.direction != right:
            refuse(
                "Objective",
                [(("direction",), f"{self.metric} is to {right}; drop direction", self.direction)],
            )
        return self


def column_errors(task: Task, data: Data) -> list[FieldError]:
    """Columns that the task does not have, and a separator where there is nothing to separate."""
    errors: list[FieldError] = []
    sets = TASKS[task].columns
    known = {column for columns in sets for column in columns}
    for column in data.columns:
        if column not in known:
            hint = nearest_name_hint(column, known)
            errors.append((("data", "columns", column), f"{task} has no such column{hint}", data.columns[column]))
    if not errors and all(set(data.columns) != set(columns) for columns in sets):
        choices = ", or ".join(" and ".join(columns) for columns in sets)
        errors.append((("data", "columns"), f"these columns do not go together; give {choices}", data.columns))
    if data.label_separator is not None and task != "text-classification":
        message = f"{task} has no texts of several classes; drop it"
        errors.append((("data", "label_separator"), message, data.label_separator))
    return errors


def objective_errors(task: Task, objective: Objective) -> list[FieldError]:
    """A metric that the task does not report, or a script's metric of no known direction."""
    metric = objective.metric
    if task == "script":
        message = f"say whether {metric} is to minimize or to maximize"
        return [(("objective", "direction"), message, None)] if objective.direction is None else []
    known = ("validation_loss", *TASKS[task].metrics)
    if metric in known:
        return []
    others = ", ".join(other for other, contract in TASKS.items() if metric in contract.metrics)
    reason = f"is a metric of {others}; {task} has {', '.join(known)}" if others else nearest_name_hint(metric, known)
    return [(("objective", "metric"), f"{task} does not report it: {reason}" if others else f"unknown{reason}", metric)]
