"""The examples of a study as people wrote them, before any tokenizer or image processor, and what is a good one."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

Input = TypeVar("Input")
Target = TypeVar("Target")


class BadRow(Exception):
    """One example cannot be used. The message says why and what to do; file and row are put in front of it."""


@dataclass(frozen=True, kw_only=True)
class Rows(Generic[Input, Target]):
    """The examples of one split, in the order of their file. The task decides what an example holds."""

    source: str
    """Name of the file or folder of the rows, as the study gives it."""
    inputs: list[Input]
    """What the model reads, of each row."""
    targets: list[Target]
    """What the model is to say, of each row."""
    numbers: list[int] | None = None
    """Number of each row in its file, from 1; ``None``: the rows are all rows of the file."""

    def __len__(self) -> int:
        return len(self.inputs)

    def take(self, rows: Sequence[int]) -> "Rows[Input, Target]":
        """Return some of the rows, counted from 0, in the order given."""
        return Rows(
            source=self.source,
            inputs=[self.inputs[i] for i in rows],
            targets=[self.targets[i] for i in rows],
            numbers=[self._number(i) for i in rows],
        )

    def place(self, row: int) -> str:
        """Return where the row ``row``, counted from 0, stands: its file and its number there."""
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
    """Names of the classes, sorted, whole numbers by value; empty where the task has no classes."""
    sha256: str
    """SHA-256 over the examples of all files, the columns' names and ``max_length``."""
    notes: tuple[str, ...] = ()
    """What reading the files found odd, in words."""

    @property
    def held_out(self) -> dict[str, Rows[Input, Target]]:
        """Splits that are not trained on, by name."""
        return {"validation": self.validation} | ({"test": self.test} if self.test else {})


class RowRules(ABC, Generic[Input, Target]):
    """The rules of a task that reading a study's data needs: which rows are good, and which classes are in them."""

    noun: ClassVar[str] = "texts"
    """Word for the task's inputs in messages."""
    min_classes: ClassVar[int] = 0
    """Smallest number of classes that the training data may have."""
    reads_numbers: ClassVar[bool] = False
    """Whether labels are numbers to learn, not names."""
    may_number_classes: ClassVar[bool] = True
    """Whether classes may have numbers for names; where names say what a class means, they may not."""

    @abstractmethod
    def check_row(self, row: Mapping[str, Any]) -> tuple[Input, Target]:
        """Turn one row into an example: what the model reads, and what it is to say.

        Args:
            row: values of the task's columns; ``None`` where there is none.

        Raises:
            BadRow: one cannot train on the row.
        """

    def classes_of(self, target: Target) -> Iterable[str]:
        """Return the classes that ``target`` names."""
        del target
        return ()

    def stratum(self, target: Target) -> str | None:
        """Return the class by whose share a validation split is drawn; ``None``: all rows are drawn alike."""
        del target
        return None

    def odd_classes(self, names: Sequence[str]) -> list[str]:
        """Return warnings of what the ``names`` of the classes leave open."""
        del names
        return []

    def is_empty(self, example: Input) -> bool:
        """Whether there is nothing to read in ``example``; such rows are trained on, with a warning."""
        del example
        return False


AnyRules = RowRules[Any, Any]
