"""The columns that a study reads, by the task's names for them and the data's."""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from trainer.errors import DataError

Columns = Mapping[str, str]
"""Names that the data gives to the columns of a task, by the names that the task gives them."""

Values = dict[str, list[Any]]
"""Values of a table's columns, row by row as the file holds them, by the task's names of the columns; ``None`` where a
row has no value."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """The columns of a study in one file, folder or data set on the hub."""

    values: Values
    """Values of the columns."""
    notes: tuple[str, ...] = ()
    """What is odd about the file, in words; the study shows them as warnings."""
    separator: str = ","
    """Character between the values of a row in a CSV file."""


class MissingColumn(DataError):
    """A table lacks a column that the study reads."""


def check_columns(source: str, names: list[str], columns: Columns) -> None:
    """Check that all ``columns`` are among the ``names`` of a table's columns, once each.

    Raises:
        MissingColumn: a column is missing.
        DataError: there are several of its name.
    """
    for field, wanted in columns.items():
        if wanted not in names:
            near = "".join(f"; did you mean {name!r}?" for name in get_close_matches(wanted, names, n=1))
            listed = ", ".join(map(repr, names[:20]))
            raise MissingColumn(f"{source} has no column {wanted!r}, only {listed}; set data.columns.{field}{near}")
        if names.count(wanted) > 1:
            raise DataError(f"{source} has {names.count(wanted)} columns {wanted!r}; rename all but one")
