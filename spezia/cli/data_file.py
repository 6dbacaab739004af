"""The beginning of a file of examples on this machine, and about how many rows it has."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import BinaryIO

from pydantic import ValidationError

from spezia.common.archives import BadArchive, Kind, open_archive
from spezia.common.extras import require_trainer
from spezia.common.table_head import HEAD_BYTES, BadTable, TableHead, TextFormat, read_head, read_parquet_lines
from spezia.contract.parquet_head import HeadOutcome

_FORMATS: dict[str, TextFormat] = {".csv": "csv", ".tsv": "csv", ".jsonl": "jsonl"}
PARQUET_READER = (sys.executable, "-P", "-m", "trainer.parquet_head")
"""Command that reads the beginning of the Parquet file that is named behind it, in a process that loads pyarrow."""
_ARCHIVES: dict[str, Kind] = {".gz": "gzip", ".zip": "zip"}


class DataFileError(ValueError):
    """A file of examples that cannot be read: its name, what is wrong, and what to do."""


@dataclass(frozen=True, kw_only=True)
class DataFile:
    """A file of examples, as far as it is read here."""

    path: Path
    """Path of the file."""
    head: TableHead
    """The rows at its beginning."""
    n_rows: int
    """Number of its rows, estimated by its size if the head is not the whole."""


def read_data_file(path: Path) -> DataFile:
    """Read the beginning of a CSV, TSV or JSONL file, or of one of these in a .gz or .zip, or of a Parquet file.

    Raises:
        DataFileError: it is none, its beginning is no table, or it has no rows.
        MissingExtra: it is Parquet, and what reads that is not installed.
        OSError: it cannot be opened.
    """
    if path.is_dir():
        hint = "; for images in class folders see `image-classification` in docs/tasks.md" if _has_folders(path) else ""
        raise DataFileError(f"{path} is a folder; name one CSV or JSONL file of examples{hint}")
    kind = _ARCHIVES.get(path.suffix.lower())
    if path.suffix.lower() == ".parquet":
        return _read_parquet(path)
    try:
        with path.open("rb") as file:
            if kind is None:
                form = _format(path, path.name)
                head, size_bytes = file.read(HEAD_BYTES), path.stat().st_size
            else:
                form, head, size_bytes = _unpack(path, file, kind)
        table = read_head(head, form)
    except (BadArchive, BadTable) as bad:
        raise DataFileError(f"{path} {bad}") from bad
    if table.is_whole and not table.rows:
        raise DataFileError(f"{path} holds names of columns and no row; give a file of examples")
    n_rows = round(len(table.rows) * size_bytes / HEAD_BYTES) if table.n_rows is None else table.n_rows
    return DataFile(path=path, head=table, n_rows=n_rows)


def _read_parquet(path: Path) -> DataFile:
    path.open("rb").close()  # what cannot be opened is said as for other files
    require_trainer(f"{path}: reading Parquet")
    ended = subprocess.run([*PARQUET_READER, str(path.absolute())], capture_output=True, check=False)
    try:
        outcome = HeadOutcome.model_validate_json(ended.stdout)
        if outcome.head is None:
            raise DataFileError(f"{path} {outcome.problem}")
        table = read_parquet_lines(outcome.head)
    except ValidationError:
        raise DataFileError(f"{path} ended the program that reads it (exit code {ended.returncode})") from None
    except BadTable as bad:
        raise DataFileError(f"{path} {bad}") from bad
    return DataFile(path=path, head=table, n_rows=outcome.head.n_rows)


def _unpack(path: Path, file: BinaryIO, kind: Kind) -> tuple[TextFormat, bytes, int]:
    """Return the format of the file in an archive, its head, and its size in bytes."""
    with open_archive(file, kind) as (name, pieces):
        form = _format(path, name or path.stem)
        head = next(pieces, b"")
        return form, head[:HEAD_BYTES], len(head) + sum(map(len, pieces))


def _format(path: Path, name: str) -> TextFormat:
    suffix = PurePath(name).suffix.lower()
    if suffix in _FORMATS:
        return _FORMATS[suffix]
    if suffix == ".parquet":
        raise DataFileError(f"{path}: the file in it is Parquet, which is packed already; unpack it and name that file")
    hint = "; save one JSON object a line and call it .jsonl" if suffix == ".json" else ""
    raise DataFileError(f"{path}: unknown suffix {suffix!r}; use {', '.join([*_FORMATS, '.parquet'])}{hint}")


def _has_folders(path: Path) -> bool:
    return any(each.is_dir() for each in path.iterdir())
