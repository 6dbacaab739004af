"""Reads the columns of a CSV, JSONL or Parquet file. What is in them is the task's to check."""

import json
from collections.abc import Callable
from pathlib import PurePath
from typing import Any

import pyarrow
import pyarrow.csv
import pyarrow.parquet

from trainer.data.columns import Columns, Table, check_columns
from trainer.errors import DataError

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def parse_file(source: str, content: bytes, columns: Columns) -> Table:
    """Read some columns of a table; the suffix of its name decides the format.

    Args:
        source: name of the file, as the study gives it.
        content: of the file.

    Raises:
        DataError: unknown suffix, empty, not UTF-8, malformed, or without one of the columns.
    """
    suffix = PurePath(source).suffix.lower()
    if suffix not in _PARSERS:
        hint = "; save one JSON object a line and call it .jsonl" if suffix == ".json" else ""
        raise DataError(f"{source}: unknown suffix {suffix!r}; use {', '.join(_PARSERS)}{hint}")
    content = content.removeprefix(_BYTE_ORDER_MARK)
    if not content.strip():
        raise DataError(f"{source} is empty; give a file of examples")
    return _PARSERS[suffix](source, content, columns)


def _parse_csv(source: str, content: bytes, columns: Columns) -> Table:
    _check_utf8(source, content)
    # One block: a quoted text may be longer than the default megabyte. Newlines inside quotes are text
    read = pyarrow.csv.ReadOptions(use_threads=False, block_size=min(len(content) + 1, 2**31 - 1))
    parse = pyarrow.csv.ParseOptions(newlines_in_values=True)
    try:
        names = pyarrow.csv.open_csv(pyarrow.BufferReader(content), read, parse).schema.names
        check_columns(source, names, columns)
        # Typed as strings, so that "NA" and "null" stay words and "007" keeps its zeros
        convert = pyarrow.csv.ConvertOptions(
            include_columns=list(columns.values()),
            column_types=dict.fromkeys(columns.values(), pyarrow.string()),
            strings_can_be_null=False,
        )
        table = pyarrow.csv.read_csv(pyarrow.BufferReader(content), read, parse, convert)
    except pyarrow.ArrowInvalid as error:
        raise DataError(f"{source} is not a well-formed CSV file: {error}. Row 1 is the header") from error
    return {field: table[name].to_pylist() for field, name in columns.items()}


def _parse_jsonl(source: str, content: bytes, columns: Columns) -> Table:
    # Not by pyarrow, which turns texts that look like dates into timestamps
    _check_utf8(source, content)
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(content.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{source}, line {number}: not JSON ({error}); give one object a line") from error
        if not isinstance(row, dict):
            raise DataError(f"{source}, line {number}: not an object; give one object a line")
        rows.append(row)
    check_columns(source, list(rows[0]), columns)
    return {field: [row.get(name) for row in rows] for field, name in columns.items()}


def _parse_parquet(source: str, content: bytes, columns: Columns) -> Table:
    try:
        file = pyarrow.parquet.ParquetFile(pyarrow.BufferReader(content))
        check_columns(source, file.schema_arrow.names, columns)
        table = file.read(columns=list(columns.values()))
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{source} is not a readable Parquet file: {error}; write it again") from error
    return {field: table[name].to_pylist() for field, name in columns.items()}


def _check_utf8(source: str, content: bytes) -> None:
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{source}, line {line}: byte {error.start} (0x{content[error.start]:02x}) is not UTF-8; save "
            "the file as UTF-8"
        ) from error


_PARSERS: dict[str, Callable[[str, bytes, Columns], Table]] = {
    ".csv": _parse_csv,
    ".jsonl": _parse_jsonl,
    ".parquet": _parse_parquet,
}
