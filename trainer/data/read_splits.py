"""Reads, checks and splits the examples of a study."""

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from spezia.common.plural import plural
from spezia.contract.data import Data
from spezia.contract.wire import nearest_name_hint
from trainer.data.allowed_paths import describe_search, find_allowed
from trainer.data.column_checks import Columns, Table
from trainer.data.image_files import ImageFile, find_image, read_class_folders
from trainer.data.read_hub import PREFIX, read_hub
from trainer.data.rows import AnyRules, BadRow, Rows, Splits
from trainer.data.table_files import parse_file
from trainer.errors import DataError
from trainer.trial.seeds import derive_seed

_VALIDATION_SHARE = 5
"""One in this many training rows is used for validation where a study names no validation data."""

AnyRows = Rows[Any, Any]


def read_table(source: str, choices: Sequence[Columns], roots: Sequence[Path]) -> Table:
    """Read the task's columns of one file, folder of class folders or data set on the hub. Images are not opened yet.

    Args:
        source: as the study names it.
        choices: columns that may be read; the first that are all there are.
        roots: folders that relative paths are tried under and all paths must lie in.

    Raises:
        DataError: the data cannot be read; the message names the file, and the row (counted from 1) where there is
            one.
    """
    if source.startswith(PREFIX):
        table = Table(values=read_hub(source, choices))
    else:
        try:
            table = _read_path(source, choices, roots)
        except PermissionError as error:  # find_allowed's own, or the operating system's
            raise DataError(str(error)) from error
    if not all(table.values.values()):
        raise DataError(f"{source} has no rows; give a file of examples")
    if "image" in table.values:
        images = [_image(source, row, value, roots) for row, value in enumerate(table.values["image"], start=1)]
        return replace(table, values=table.values | {"image": images})
    return table


def read_splits(task: AnyRules, data: Data, table: Table, *, seed: int, roots: Sequence[Path]) -> Splits[Any, Any]:
    """Check every row of the data that a study names, and split it into training, validation and test rows.

    Args:
        task: rules of the study's task.
        table: what ``read_table`` read of ``data.train``.
        seed: draws the validation split where the study names none.
        roots: folders that relative paths are tried under and all paths must lie in.

    Raises:
        DataError: one cannot train on the data; the message names the file, and the row (counted from 1) where
            there is one.
    """
    sources = {data.train: table}
    for source in (data.validation, data.test):
        if source is not None and source not in sources:
            sources[source] = read_table(source, [data.columns], roots)
    sources = {source: _with_decimal_points(task, source, read) for source, read in sources.items()}
    rows = {source: _check_rows(task, source, read) for source, read in sources.items()}
    train = rows[data.train]
    held_out = [None if source is None else rows[source] for source in (data.validation, data.test)]
    digest = _digest(data, [train, *held_out])
    class_names = _class_names(task, train)
    for split in held_out:
        if split is not None:
            _check_classes_known(task, split, train, class_names)
    validation, test = held_out
    if validation is None:
        train, validation = _draw_validation(task, train, class_names, seed)
    notes = tuple(note for source, read in sources.items() for note in (*read.notes, *_blank_classes(source, read)))
    return Splits(train=train, validation=validation, test=test, class_names=class_names, sha256=digest, notes=notes)


def _read_path(source: str, choices: Sequence[Columns], roots: Sequence[Path]) -> Table:
    path = find_allowed(source, roots)
    if path is None:
        raise DataError(f"{describe_search(source, roots)} does not exist; correct the path")
    if path.is_dir() and "image" in choices[0]:
        images, labels, notes = read_class_folders(source, path, roots)
        return Table(values={"image": images, "label": labels}, notes=notes)
    if not path.is_file():
        raise DataError(f"{source} is not a file; name one file for each split")
    return parse_file(source, path.read_bytes(), choices)


def _image(source: str, row: int, value: Any, roots: Sequence[Path]) -> ImageFile:
    if isinstance(value, ImageFile):
        return value
    try:
        return find_image(value, source, roots)
    except BadRow as bad:
        raise DataError(f"{source}, row {row}: {bad}") from None


def _check_rows(task: AnyRules, source: str, table: Table) -> AnyRows:
    inputs, targets = [], []
    for row, values in enumerate(zip(*table.values.values(), strict=True), start=1):
        try:
            example, target = task.check_row(dict(zip(table.values, values, strict=True)))
        except BadRow as bad:
            raise DataError(f"{source}, row {row}: {bad}") from None
        inputs.append(example)
        targets.append(target)
    return Rows(source=source, inputs=inputs, targets=targets)


def _with_decimal_points(task: AnyRules, source: str, table: Table) -> Table:
    """Read ``3,14`` as 3.14 where commas do not separate values and no number of the file says otherwise."""
    labels = table.values.get("label", [])
    if not task.reads_numbers or table.separator == "," or not any("," in str(label) for label in labels):
        return table
    if not all(re.fullmatch(r"\s*[+-]?\d+(,\d+)?\s*", str(label)) for label in labels if label):
        return table
    points = [label.replace(",", ".") for label in labels]
    note = f"{source}: commas in the label are taken for decimal points"
    return replace(table, values=table.values | {"label": points}, notes=(*table.notes, note))


def _blank_classes(source: str, table: Table) -> list[str]:
    """Say how many names of classes had blanks around them, which are stripped."""
    warnings = []
    for column in ("label", "tags"):
        n_blank = sum(map(_has_blank, table.values.get(column, ())))
        if n_blank:
            warnings.append(f"{source}: blanks around the {column} of {plural(n_blank, 'row')} are dropped")
    return warnings


def _has_blank(value: Any) -> bool:
    if isinstance(value, list):
        return any(map(_has_blank, value))
    return isinstance(value, str) and value != value.strip()


def _class_names(task: AnyRules, train: AnyRows) -> tuple[str, ...]:
    names = {name for target in train.targets for name in task.classes_of(target)}
    if len(names) < task.min_classes:
        found = f"one class only, {next(iter(names))!r}" if names else "no class"
        raise DataError(
            f"{train.source} holds {found}; a classifier needs at least {task.min_classes}: check data.columns"
        )
    is_numbered = bool(names) and all(name.isdecimal() for name in names)
    if is_numbered and not task.may_number_classes:
        raise DataError(
            f"{train.source}: its classes are numbers ({', '.join(sorted(names)[:5])}), so nobody can tell which of "
            "them begin a span and which are outside; write names such as O and B-PER, or a Parquet file of the "
            "library datasets that keeps the names (ClassLabel)"
        )
    if is_numbered:
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names))


def _check_classes_known(task: AnyRules, split: AnyRows, train: AnyRows, class_names: tuple[str, ...]) -> None:
    known = set(class_names)
    for row, target in enumerate(split.targets):
        for name in task.classes_of(target):
            if name not in known:
                raise DataError(
                    f"{split.place(row)}: the label {name!r} does not occur in "
                    f"{train.source}{nearest_name_hint(name, class_names[:50])}; correct it or add training examples"
                )


def _draw_validation(
    task: AnyRules, train: AnyRows, class_names: tuple[str, ...], seed: int
) -> tuple[AnyRows, AnyRows]:
    """Move a fifth of each class, at least one row, to the validation split; both keep the file's order."""
    strata: dict[str, list[int]] = defaultdict(list)
    for row, target in enumerate(train.targets):
        strata[task.stratum(target) or ""].append(row)
    generator = np.random.default_rng(derive_seed("split", seed))
    drawn: set[int] = set()
    for name in class_names if "" not in strata else ("",):
        if len(strata[name]) < 2:
            raise DataError(
                f"{train.place(strata[name][0])}: the only example{f' of class {name!r}' if name else ''}, "
                "so a validation split cannot be drawn; add a second one, remove it, or name a file as data.validation"
            )
        rows = generator.permutation(strata[name])
        drawn.update(rows[: max(1, round(len(rows) / _VALIDATION_SHARE))].tolist())
    kept = [row for row in range(len(train)) if row not in drawn]
    return train.take(kept), train.take(sorted(drawn))


def _digest(data: Data, splits: Sequence[AnyRows | None]) -> str:
    """Hash what was read, not how it was written: the same rows as CSV and as Parquet train the same."""
    identity = [data.columns, data.label_separator, data.max_length]
    digest = hashlib.sha256(json.dumps(identity).encode() + b"\n")
    for split in splits:
        pairs = None if split is None else list(zip(split.inputs, split.targets, strict=True))
        digest.update(json.dumps(pairs, default=_image_sha256).encode() + b"\n")
    return digest.hexdigest()


def _image_sha256(image: ImageFile) -> str:
    return image.sha256
