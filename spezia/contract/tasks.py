"""The kinds of study: which columns each reads, and which metrics it reports."""

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
Direction = Literal["minimize", "maximize"]

TRAINED_TASKS: tuple[Task, ...] = (
    "text-classification",
    "text-regression",
    "token-classification",
    "image-classification",
    "causal-lm",
)
"""Those that train a model of the study; a script trains what it likes."""


@dataclass(frozen=True, kw_only=True)
class TaskContract:
    """What a study of one task may name."""

    columns: tuple[tuple[str, ...], ...] = ()
    """Sets of columns that the data may have, each column called by its own name unless a study says
    otherwise; the first set is the default."""
    metrics: Mapping[str, Direction] = field(default_factory=dict)
    """Beside ``validation_loss``."""


TASKS: dict[Task, TaskContract] = {
    "text-classification": TaskContract(
        columns=(("text", "label"),),
        metrics={
            "accuracy": "maximize",  # one class a text
            "matthews": "maximize",
            "f1_macro": "maximize",
            "f1_micro": "maximize",  # several classes a text
            "subset_accuracy": "maximize",
        },
    ),
    "text-regression": TaskContract(
        columns=(("text", "label"),),
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
        columns=(("text",), ("prompt", "completion")),
        metrics={"perplexity": "minimize"},
    ),
    "script": TaskContract(),
}

DIRECTIONS: dict[str, Direction] = {
    "validation_loss": "minimize",
    **{name: direction for task in TASKS.values() for name, direction in task.metrics.items()},
}
"""Of every metric that is known by name; a script may report others."""


def fill_columns(task: Task, named: Mapping[str, object]) -> dict[str, object]:
    """``named`` with the columns that are missing from the set that they point to."""
    sets = TASKS[task].columns
    chosen = next((columns for columns in sets if named and set(named) & set(columns)), sets[0] if sets else ())
    return {column: column for column in chosen} | dict(named)
