"""The columns that a study reads, by the task's names for them and the data's."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from trainer.errors import DataError

Columns = Mapping[str, str]
"""What the data calls each of the task's columns."""

Table = dict[str, list[Any]]
"""The values of each of the task's columns, row by row, as the file holds them; ``None`` where there is none."""


def check_columns(source: str, names: list[str], columns: Columns) -> None:
    """Raise ``DataError`` unless all ``columns`` are among ``names``, once each."""
    for field, wanted in columns.items():
        if wanted not in names:
            near = "".join(f"; did you mean {name!r}?" for name in get_close_matches(wanted, names, n=1))
            listed = ", ".join(map(repr, names[:20]))
            raise DataError(f"{source} has no column {wanted!r}, only {listed}; set data.columns.{field}{near}")
        if names.count(wanted) > 1:
            raise DataError(f"{source} has {names.count(wanted)} columns {wanted!r}; rename all but one")
