"""Tasks, the kinds of study: which columns of the data each reads, and which metrics it reports."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Task = Literal[
    "text-classification",
    "text-regression",
    "token-classification",
    "image-classification",
    "causal-lm",
    "script",
]
"""Name of a task."""

Direction = Literal["minimize", "maximize"]
"""Whether the lowest or the highest value of a metric is the best."""

TRAINED_TASKS: tuple[Task, ...] = (
    "text-classification",
    "text-regression",
    "token-classification",
    "image-classification",
    "causal-lm",
)
"""Tasks that fine-tune the study's model; a script trains whatever it likes."""

CLASS_TASKS: tuple[Task, ...] = ("text-classification", "token-classification", "image-classification")
"""Tasks whose targets are classes: of texts, of words, of images."""


@dataclass(frozen=True, kw_only=True)
class TaskContract:
    """The columns and metrics of one task."""

    columns: tuple[tuple[str, ...], ...] = ()
    """Sets of columns that the data may have, the first by default; a study may give columns other names. Where it
    leaves the first column at its default, the data decide: a set of more columns is read if all are there, and a set
    of other columns if the default's are not."""
    metrics: Mapping[str, Direction] = field(default_factory=dict)
    """Metrics that the task reports beside ``validation_loss``, each with its direction."""


TASKS: dict[Task, TaskContract] = {
    "text-classification": TaskContract(
        columns=(("text", "label"), ("text", "text_pair", "label")),
        metrics={
            "accuracy": "maximize",  # one class a text
            "matthews": "maximize",
            "f1_macro": "maximize",
            "f1_micro": "maximize",  # several classes a text
            "subset_accuracy": "maximize",
        },
    ),
    "text-regression": TaskContract(
        columns=(("text", "label"), ("text", "text_pair", "label")),
        metrics={"mse": "minimize", "mae": "minimize", "pearson": "maximize", "spearman": "maximize"},
    ),
    "token-classification": TaskContract(
        columns=(("tokens", "tags"),),
        metrics={
            "span_f1": "maximize",
            "span_precision": "maximize",
            "span_recall": "maximize",
            "accuracy": "maximize",
        },
    ),
    "image-classification": TaskContract(
        columns=(("image", "label"),),
        metrics={"accuracy": "maximize", "f1_macro": "maximize", "matthews": "maximize"},
    ),
    "causal-lm": TaskContract(
        columns=(("text",), ("prompt", "completion"), ("messages",)),
        metrics={"perplexity": "minimize"},
    ),
    "script": TaskContract(),
}
"""Columns and metrics of all tasks."""

DIRECTIONS: dict[str, Direction] = {
    "validation_loss": "minimize",
    **{name: direction for task in TASKS.values() for name, direction in task.metrics.items()},
}
"""Direction of every metric that a task reports; a script may report others."""


def fill_columns(task: Task, named: Mapping[str, object]) -> dict[str, object]:
    """Complete the columns that a study names by the other columns of the first set to which they belong."""
    sets = TASKS[task].columns
    chosen = next((columns for columns in sets if set(named) <= set(columns)), sets[0] if sets else ())
    return {column: column for column in chosen} | dict(named)
