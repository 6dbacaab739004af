"""The data of a study: where its splits lie, what their columns are called, and how long an example may be."""

from typing import Annotated

from pydantic import Field

from spezia.contract.tasks import TASKS, Task
from spezia.contract.wire import FieldError, Text, Wire, nearest_name_hint


class Data(Wire):
    """The data that a study trains on, is validated on, and scores its winner on."""

    train: Text
    """Training data: a file (.csv, .tsv, .jsonl, .parquet, or one of these in a .gz or .zip), a folder of class folders
    (image-classification only), ``sha256:…`` of an uploaded data set, or ``hub://owner/name[:config]#split``."""
    validation: Text | None = None
    """Validation data, named like ``train``; when absent, a stratified fifth of ``train`` is held out, drawn by the
    study's seed."""
    test: Text | None = None
    """Test data, named like ``train``; the search never sees them, and the winner's model is scored on them once."""
    columns: Annotated[dict[str, Text], Field(max_length=8)] = {}
    """Name in the data of each column of the task, such as ``{"label": "category"}``; a column that is left out is
    called as the task calls it. Where the task has several sets of columns and its first column is left out, the data
    decide which set is read."""
    label_separator: Annotated[Text, Field(max_length=8)] | None = None
    """Text between the classes of a row of text-classification that has several, as a CSV file needs it; JSONL and
    Parquet files hold lists of classes and need none."""
    max_length: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Longest example in tokens; longer ones are truncated, and counted in the study's facts. When absent, it is 128,
    or 1,024 for prompts and conversations of causal-lm, or what the model reads at most if that is less."""


def column_errors(task: Task, data: Data) -> list[FieldError]:
    """Find columns that the task does not have, and a separator where no text has several classes."""
    errors: list[FieldError] = []
    sets = TASKS[task].columns
    known = {column for columns in sets for column in columns}
    for column in data.columns:
        if column not in known:
            hint = nearest_name_hint(column, known)
            errors.append((("data", "columns", column), f"{task} has no column {column}{hint}", data.columns[column]))
    if not errors and all(set(data.columns) != set(columns) for columns in sets):
        choices = ", or ".join(" and ".join(columns) for columns in sets)
        errors.append((("data", "columns"), f"these columns cannot be combined; give {choices}", data.columns))
    if data.label_separator is not None and task != "text-classification":
        message = f"only text-classification can have several classes per text, not {task}; drop label_separator"
        errors.append((("data", "label_separator"), message, data.label_separator))
    return errors
