"""The examples of a study as people wrote them: before any tokenizer or image processor."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Input = TypeVar("Input")
Target = TypeVar("Target")


class BadRow(Exception):
    """One example cannot be used. The message says why and what to do; file and row are put before it."""


@dataclass(frozen=True, kw_only=True)
class Rows(Generic[Input, Target]):
    """The examples of one split, in the order of their file. What they hold is the task's."""

    source: str
    """As the study names it."""
    inputs: list[Input]
    targets: list[Target]
    numbers: list[int] | None = None
    """Of each row in its file, from 1; ``None``: they are all of its rows."""

    def __len__(self) -> int:
        return len(self.inputs)

    def take(self, rows: Sequence[int]) -> "Rows[Input, Target]":
        """Some of the rows, counted from 0, in the order given."""
        return Rows(
            source=self.source,
            inputs=[self.inputs[i] for i in rows],
            targets=[self.targets[i] for i in rows],
            numbers=[self._number(i) for i in rows],
        )

    def place(self, row: int) -> str:
        """Where one of the rows, counted from 0, stands, for people: file and row there."""
        return f"{self.source}, row {self._number(row)}"

    def _number(self, row: int) -> int:
        return row + 1 if self.numbers is None else self.numbers[row]


@dataclass(frozen=True, kw_only=True)
class Splits(Generic[Input, Target]):
    """The examples of a study. Every class in them is one of ``class_names``."""

    train: Rows[Input, Target]
    validation: Rows[Input, Target]
    test: Rows[Input, Target] | None
    class_names: tuple[str, ...]
    """Sorted, whole numbers by value; none where the task has no classes."""
    sha256: str
    """Over the examples of all files, the columns' names and ``max_length``."""

    @property
    def held_out(self) -> dict[str, Rows[Input, Target]]:
        """What is not trained on, by name."""
        return {"validation": self.validation} | ({"test": self.test} if self.test else {})
