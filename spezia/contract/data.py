"""What a study trains on, and which of that fits its task."""

from typing import Annotated

from pydantic import Field

from spezia.contract.tasks import TASKS, Task
from spezia.contract.wire import FieldError, Text, Wire, nearest_name_hint


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
