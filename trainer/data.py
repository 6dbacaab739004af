"""Reads, checks and splits the examples of a study."""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from service.contract.study import Columns, Data
from service.contract.wire import nearest_name_hint
from trainer.data_files import RawColumns, parse_file
from trainer.data_hub import PREFIX, read_hub
from trainer.errors import DataError
from trainer.roots import describe_search, find_allowed
from trainer.seeds import derive_seed

_VALIDATION_SHARE = 5
"""One in this many training rows validates, where a study names no validation data."""


@dataclass(frozen=True, kw_only=True)
class Rows:
    """The examples of one split, in the order of their file."""

    source: str
    """As the study names it."""
    texts: list[str]
    labels: list[str]

    def take(self, rows: Sequence[int]) -> "Rows":
        """Some of the rows, counted from 0, in the order given."""
        return Rows(source=self.source, texts=[self.texts[i] for i in rows], labels=[self.labels[i] for i in rows])


@dataclass(frozen=True, kw_only=True)
class Splits:
    """The examples of a study. Every label is one of ``class_names``."""

    train: Rows
    validation: Rows
    test: Rows | None
    class_names: tuple[str, ...]
    """Sorted, whole numbers by value."""
    sha256: str
    """Over the examples of all files, the columns' names and ``max_length``."""


def read_splits(data: Data, *, seed: int, roots: Sequence[Path]) -> Splits:
    """Read what a study names and check that one can train on it.

    Args:
        seed: draws the validation split where the study names none.
        roots: folders that relative paths are tried under and all paths must lie in.

    Raises:
        DataError: names the file, and the row (counted from 1) where there is one.
    """
    train = _read(data.train, data.columns, roots)
    validation = _read(data.validation, data.columns, roots) if data.validation is not None else None
    test = _read(data.test, data.columns, roots) if data.test is not None else None
    digest = _digest(data, [train, validation, test])
    class_names = _class_names(train)
    for split in (validation, test):
        if split is not None:
            _check_labels_known(split, train, class_names)
    if validation is None:
        train, validation = _draw_validation(train, class_names, seed)
    return Splits(train=train, validation=validation, test=test, class_names=class_names, sha256=digest)


def _read(source: str, columns: Columns, roots: Sequence[Path]) -> Rows:
    if source.startswith(PREFIX):
        raw = read_hub(source, columns)
    else:
        raw = parse_file(source, _read_bytes(source, roots), columns)
    if not raw.texts:
        raise DataError(f"{source} has no rows; give a file with at least two classes of examples")
    return _check_rows(source, raw)


def _read_bytes(source: str, roots: Sequence[Path]) -> bytes:
    try:
        path = find_allowed(source, roots)
        if path is None:
            raise DataError(f"{describe_search(source, roots)} does not exist; correct the path")
        if not path.is_file():
            raise DataError(f"{source} is not a file; name one file for each split")
        return path.read_bytes()
    except PermissionError as error:  # find_allowed's own, or the operating system's
        raise DataError(str(error)) from error


def _check_rows(source: str, raw: RawColumns) -> Rows:
    labels = []
    for row, (text, label) in enumerate(zip(raw.texts, raw.labels, strict=True), start=1):
        if not isinstance(text, str):
            found = "there is no text" if text is None else f"the text is {text!r}, not a string"
            raise DataError(f"{source}, row {row}: {found}; fill it in or remove the row")
        if not text.isascii() and _has_lone_surrogate(text):
            raise DataError(
                f"{source}, row {row}: the text holds half of a surrogate pair, which is no character; correct it"
            )
        # A float is a measurement, or a class id that a reader has turned into one (1 into 1.0)
        if label is not None and not isinstance(label, str | int):
            raise DataError(
                f"{source}, row {row}: the label {label!r} is neither a name nor a whole number; write class names"
            )
        if label is None or not str(label).strip():
            raise DataError(f"{source}, row {row}: there is no label; fill it in or remove the row")
        labels.append(str(label))
    return Rows(source=source, texts=raw.texts, labels=labels)


def _has_lone_surrogate(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)


def _class_names(train: Rows) -> tuple[str, ...]:
    names = set(train.labels)
    if len(names) < 2:
        raise DataError(
            f"{train.source} holds one class only, {train.labels[0]!r}; a classifier needs at least two: "
            "check data.columns.label"
        )
    if all(name.isdecimal() for name in names):
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names))


def _check_labels_known(split: Rows, train: Rows, class_names: tuple[str, ...]) -> None:
    known = set(class_names)
    for row, label in enumerate(split.labels, start=1):
        if label not in known:
            raise DataError(
                f"{split.source}, row {row}: the label {label!r} does not occur in "
                f"{train.source}{nearest_name_hint(label, class_names[:50])}; correct it or add training "
                "examples"
            )


def _draw_validation(train: Rows, class_names: tuple[str, ...], seed: int) -> tuple[Rows, Rows]:
    """Move a fifth of each class, at least one row, to the validation split; both keep the file's order."""
    counts = Counter(train.labels)
    for name in class_names:
        if counts[name] < 2:
            row = train.labels.index(name) + 1
            raise DataError(
                f"{train.source}, row {row}: the only example of class {name!r}, so a validation split "
                "cannot be drawn; add a second one, remove it, or name a file as data.validation"
            )
    generator = np.random.default_rng(derive_seed("split", seed))
    labels_N = np.asarray(train.labels, dtype=object)
    drawn: set[int] = set()
    for name in class_names:
        rows = generator.permutation(np.flatnonzero(labels_N == name))
        drawn.update(rows[: max(1, round(len(rows) / _VALIDATION_SHARE))].tolist())
    kept = [row for row in range(len(train.labels)) if row not in drawn]
    return train.take(kept), train.take(sorted(drawn))


def _digest(data: Data, splits: list[Rows | None]) -> str:
    """Hash what was read, not how it was written: the same rows as CSV or Parquet train the same."""
    digest = hashlib.sha256(f"{data.columns.model_dump_json()} {data.max_length}\n".encode())
    for split in splits:
        pairs = None if split is None else list(zip(split.texts, split.labels, strict=True))
        digest.update(json.dumps(pairs).encode() + b"\n")
    return digest.hexdigest()
