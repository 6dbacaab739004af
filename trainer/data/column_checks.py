"""The columns that a study reads, by the task's names for them and the data's."""

from collections.abc import Mapping, Sequence
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


def column_choices(sets: Sequence[tuple[str, ...]], named: Columns) -> list[Columns]:
    """Return the columns that the data of a study may have; the first choice that they do have is read.

    Where a study leaves the column of the inputs at its default, that is also any set of more columns, such as a text
    with its pair, before what is named, and any set of others, such as prompts and completions, behind it.

    Args:
        sets: sets of columns of the study's task, the default first.
        named: columns that the study names, filled up by its task's.
    """
    default, *others = sets
    if named.keys() != set(default) or named[default[0]] != default[0]:
        return [named]
    wider = [{name: named.get(name, name) for name in names} for names in others if set(default) < set(names)]
    different = [{name: name for name in names} for names in others if not set(default) & set(names)]
    return [*wider, named, *different]


def choose_columns(source: str, names: Sequence[str], choices: Sequence[Columns]) -> Columns:
    """Return the first of ``choices`` whose columns are all among the ``names`` of a table's columns.

    Raises:
        DataError: a column is missing of each choice, or there are several of its name.
    """

    def distance(columns: Columns) -> tuple[int, int]:
        n_missing = sum(name not in names for name in columns.values())
        return n_missing, n_missing - len(columns)

    whole = [columns for columns in choices if distance(columns)[0] == 0]
    chosen = whole[0] if whole else min(choices, key=distance)
    for field, wanted in chosen.items():
        if wanted not in names:
            near = "".join(f"; did you mean {name!r}?" for name in get_close_matches(wanted, names, n=1))
            listed = ", ".join(map(repr, names[:20]))
            raise DataError(f"{source} has no column {wanted!r}, only {listed}; set data.columns.{field}{near}")
        if names.count(wanted) > 1:
            raise DataError(f"{source} has {names.count(wanted)} columns {wanted!r}; rename all but one")
    return chosen
