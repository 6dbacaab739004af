"""What a table seems to hold: its columns, its first rows, and the task that it seems to be for."""

from typing import Literal

from spezia.contract.dataset import Format
from spezia.contract.tasks import Task
from spezia.contract.wire import Count, Reply

ColumnKind = Literal["text", "label", "labels", "number", "tokens", "messages", "image", "other", "empty"]
"""What the values of a column seem to be: texts; names of classes; several classes a row; numbers that are no classes;
words of a text, or their tags; conversations; paths of images; something else; nothing."""

Confidence = Literal["high", "medium", "low"]
"""How sure a guess is: ``high`` where names and values of the columns agree, ``medium`` where the values alone say it,
``low`` where something else is about as likely."""


class PreviewColumn(Reply):
    """One column of a table."""

    name: str
    """Name of the column in the data; one of more than 200 characters is cut."""
    kind: ColumnKind
    """What its values seem to be."""
    reason: str
    """What was found in it, in a sentence."""


class GuessedColumn(Reply):
    """A column of the data that seems to be a column of the task."""

    field: str
    """Name of the column in the task, the key in ``data.columns``."""
    column: str
    """Name of the column in the data, the value in ``data.columns``."""
    reason: str
    """What speaks for it, in a sentence."""
    confidence: Confidence
    """How sure that is."""


class Guess(Reply):
    """The task and columns for which a table seems to be made."""

    task: Task
    """Task that the columns are for."""
    reason: str
    """What speaks for the task, in a sentence."""
    confidence: Confidence
    """How sure the task is."""
    columns: list[GuessedColumn]
    """The columns of the task."""
    label_separator: str | None = None
    """What ``data.label_separator`` should be; null where labels are no texts of several classes."""


class Preview(Reply):
    """The beginning of a table, and what the table seems to be for."""

    format: Format
    """Format of the file."""
    separator: str | None
    """Character between the values of a row of a CSV file; null for JSONL and Parquet."""
    columns: list[PreviewColumn]
    """The columns, of which there are at most 100 here."""
    n_columns: Count
    """Number of all columns."""
    rows: list[list[str | None]]
    """Values of the first 20 rows at most, in the order of ``columns``, as text; what is no string is written as JSON,
    null is no value, and a value of more than 200 characters is cut."""
    n_rows_read: Count
    """Number of rows on which the guess rests: the whole rows in the first 64 KiB of the file, of Parquet as JSONL."""
    is_whole: bool
    """Whether these are all rows of the file."""
    n_rows: Count | None
    """Number of all rows; null where the file would have to be read to its end."""
    guess: Guess | None
    """What the table seems to be for; null where nothing fits."""
    no_guess: str | None
    """Why there is no guess, and what to do; null where there is one."""


class PreviewAwaited(Reply):
    """A preview for which a worker has to read the file first; the same call answers it once that is done."""

    n_workers: Count
    """Number of connected workers; while there is none, nobody reads the file."""
    detail: str
    """What is waited for, and what to do where nobody comes, in a sentence."""
