"""The examples of a study as people wrote them, before any tokenizer or image processor, and what is a good one."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

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


class RowRules(ABC, Generic[Input, Target]):
    """What reading a study's data needs to know of its task: which rows are good, and the classes in them."""

    noun: ClassVar[str] = "texts"
    """What the task's inputs are, for people."""
    min_classes: ClassVar[int] = 0
    """Classes that the training data must hold at least."""

    @abstractmethod
    def check_row(self, row: Mapping[str, Any]) -> tuple[Input, Target]:
        """Turn the values of the task's columns, ``None`` where there is none, into an example.

        Raises:
            BadRow: one cannot train on it.
        """

    def classes_of(self, target: Target) -> Iterable[str]:
        """The classes that ``target`` names."""
        del target
        return ()

    def stratum(self, target: Target) -> str | None:
        """The class by whose share a validation split is drawn; ``None``: rows are drawn alike."""
        del target
        return None

    def is_empty(self, example: Input) -> bool:
        """Whether there is nothing to read in ``example``; such rows are trained on, and warned of."""
        del example
        return False


AnyRules = RowRules[Any, Any]
