"""Reads the columns of a CSV, JSONL or Parquet file. What is in them is the task's to check."""

import csv
import io
import json
import re
from collections.abc import Callable, Sequence
from pathlib import PurePath
from typing import Any

import pyarrow
import pyarrow.csv
import pyarrow.parquet

from spezia.common.archives import BadArchive, Kind, open_archive
from spezia.common.lazy_module import LazyModule
from spezia.common.plural import plural
from trainer.data.column_checks import Columns, Table, Values, choose_columns
from trainer.data.numbered_classes import named_values
from trainer.errors import DataError

datasets = LazyModule("datasets")

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_SEPARATORS = (",", ";", "\t", "|")
_ARCHIVES: dict[str, Kind] = {".gz": "gzip", ".zip": "zip"}
_MAX_BYTES = 2**31 - 1
"""Largest block that pyarrow reads, so largest content of an archive."""


def parse_file(source: str, content: bytes, choices: Sequence[Columns]) -> Table:
    """Read some columns of a table; the suffix of its name decides the format.

    Args:
        source: name of the file, as the study gives it.
        content: of the file.
        choices: columns that may be read; the first that are all there are.

    Raises:
        DataError: unknown suffix, empty, not UTF-8, malformed, or without one of the columns.
    """
    name, content = _unpack(source, content)
    suffix = PurePath(name).suffix.lower()
    if suffix not in _PARSERS:
        hint = "; save one JSON object a line and call it .jsonl" if suffix == ".json" else ""
        raise DataError(f"{source}: unknown suffix {suffix!r}; use {', '.join(_PARSERS)}{hint}")
    content = content.removeprefix(_BYTE_ORDER_MARK)
    if not content.strip():
        raise DataError(f"{source} is empty; give a file of examples")
    return _PARSERS[suffix](source, content, choices)


def _unpack(source: str, content: bytes) -> tuple[str, bytes]:
    """Return the name and the content of the only file in a .gz or .zip; others stay as they are.

    Raises:
        DataError: the archive is broken, too large, or holds several files.
    """
    path = PurePath(source)
    kind = _ARCHIVES.get(path.suffix.lower())
    if kind is None:
        return source, content
    try:
        with open_archive(io.BytesIO(content), kind) as (name, pieces):
            unpacked = bytearray()
            for piece in pieces:
                unpacked += piece
                if len(unpacked) > _MAX_BYTES:
                    raise DataError(f"{source} holds more than {_MAX_BYTES} bytes; give the unpacked file, or Parquet")
            return name or path.stem, bytes(unpacked)
    except BadArchive as error:
        raise DataError(f"{source} {error}") from error


def _parse_csv(source: str, content: bytes, choices: Sequence[Columns]) -> Table:
    _check_utf8(source, content)
    content, separator, notes = _separator(source, content + b"\n", choices)  # pyarrow wants a header to end
    # One block: a quoted text may be longer than the default megabyte. Newlines inside quotes are text
    read = pyarrow.csv.ReadOptions(use_threads=False, block_size=min(len(content) + 1, _MAX_BYTES))
    parse = pyarrow.csv.ParseOptions(delimiter=separator, newlines_in_values=True)
    try:
        names = pyarrow.csv.open_csv(pyarrow.BufferReader(content), read, parse).schema.names
        columns = choose_columns(source, names, choices)
        # Typed as strings, so that "NA" and "null" stay words and "007" keeps its zeros
        convert = pyarrow.csv.ConvertOptions(
            include_columns=list(columns.values()),
            column_types=dict.fromkeys(columns.values(), pyarrow.string()),
            strings_can_be_null=False,
        )
        table = pyarrow.csv.read_csv(pyarrow.BufferReader(content), read, parse, convert)
    except pyarrow.ArrowInvalid as error:
        raise DataError(f"{source} is not a well-formed CSV file: {error}. Row 1 is the header") from error
    values = {field: table[name].to_pylist() for field, name in columns.items()}
    notes += _swallowed_rows(source, content, separator, names, columns, values)
    return Table(values=values, notes=notes, separator=separator)


def _separator(source: str, content: bytes, choices: Sequence[Columns]) -> tuple[bytes, str, tuple[str, ...]]:
    """Find what separates the values of a row: the comma, unless another character gives the columns that are wanted.

    Returns:
        The content without a line ``sep=…``, by which Excel is told, the separator, and a note if it is no comma.
    """
    first, *others = re.split(rb"\r\n?|\n", content, maxsplit=1)  # some programs end lines with \r alone
    rest = others[0] if others else b""
    told = re.fullmatch(rb'"?sep=(.)"?\s*', first, flags=re.IGNORECASE)
    if told is not None:
        content, found = rest, [told[1].decode()]
    else:
        found = [
            each for each in _SEPARATORS if any(set(columns.values()) <= _cells(first, each) for columns in choices)
        ]
    separator = found[0] if found else ","
    if separator == ",":
        return content, separator, ()
    return content, separator, (f"{source}: its values are taken to be separated by {separator!r}, not by commas",)


def _cells(line: bytes, separator: str) -> set[str]:
    return set(next(csv.reader([line.decode().strip()], delimiter=separator)))


def _swallowed_rows(
    source: str, content: bytes, separator: str, names: list[str], columns: Columns, values: Values
) -> tuple[str, ...]:
    """Warn where a lone quote made one text of several rows: it swallows everything up to the next quote."""
    label = columns.get("label")
    known = set(values.get("label", ()))
    suspects = [
        row
        for row, texts in enumerate(
            zip(*(values[field] for field in columns if field != "label"), strict=True), start=1
        )
        if any("\n" in text and _holds_row(text, separator, names, label, known) for text in texts)
    ]
    has_broken_quotes = any("\n" in text for texts in values.values() for text in texts) and _has_broken_quotes(
        content, separator
    )
    if not suspects and not has_broken_quotes:
        return _escaped_quotes(source, content, separator)
    n_lines, n_rows = content.strip().count(b"\n"), len(next(iter(values.values())))
    where = f" (the first in row {suspects[0]})" if suspects else ""
    note = (
        f"{source}: {plural(n_lines, 'line')} below the header make {plural(n_rows, 'row')}, since quotes that stand "
        f"alone turn the rows between them into one text{where}; write each quote inside a text twice, and the text in "
        "quotes"
    )
    return (note,)


def _escaped_quotes(source: str, content: bytes, separator: str) -> tuple[str, ...]:
    """Warn of backslashes before quotes, by which some programs escape them: read as CSV, the text ends there."""
    if b'\\"' not in content or not _has_broken_quotes(content, separator):
        return ()
    note = (
        f'{source}: quotes inside texts seem to be written \\", which CSV does not know, so that texts keep the '
        "backslash and lose the quote; write each quote inside a text twice, or give JSONL"
    )
    return (note,)


def _holds_row(text: str, separator: str, names: list[str], label: str | None, known: set[str]) -> bool:
    """Whether ``text`` seems to hold the end of one row and the beginning of the next: a class beside a separator."""
    lines = text.split("\n")
    if label == names[-1]:
        found = [(end, between) for _, between, end in (line.rpartition(separator) for line in lines[:-1])]
    elif label == names[0]:
        found = [(start, between) for start, between, _ in (line.partition(separator) for line in lines[1:])]
    else:
        return False
    return any(between and name.strip() in known for name, between in found)


def _has_broken_quotes(content: bytes, separator: str) -> bool:
    """Whether something follows a closing quote that is neither a separator nor the end of a line."""
    csv.field_size_limit(_MAX_BYTES)
    try:
        for _ in csv.reader(io.StringIO(content.decode("utf-8"), newline=""), delimiter=separator, strict=True):
            pass
    except csv.Error:
        return True
    return False


def _parse_jsonl(source: str, content: bytes, choices: Sequence[Columns]) -> Table:
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
    columns = choose_columns(source, list({name: None for row in rows for name in row}), choices)
    return Table(values={field: [row.get(name) for row in rows] for field, name in columns.items()})


def _parse_parquet(source: str, content: bytes, choices: Sequence[Columns]) -> Table:
    try:
        file = pyarrow.parquet.ParquetFile(pyarrow.BufferReader(content))
        columns = choose_columns(source, file.schema_arrow.names, choices)
        table = file.read(columns=list(columns.values()))
        # Of other files it would only name the types of the columns, and not of all types there are
        is_of_datasets = b"huggingface" in (file.schema_arrow.metadata or {})
        features = datasets.Features.from_arrow_schema(file.schema_arrow) if is_of_datasets else {}
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{source} is not a readable Parquet file: {error}; write it again") from error
    return Table(
        values={field: named_values(features.get(name), table[name].to_pylist()) for field, name in columns.items()}
    )


def _check_utf8(source: str, content: bytes) -> None:
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{source}, line {line}: byte {error.start} (0x{content[error.start]:02x}) is not UTF-8; save "
            "the file as UTF-8"
        ) from error


_PARSERS: dict[str, Callable[[str, bytes, Sequence[Columns]], Table]] = {
    ".csv": _parse_csv,
    ".tsv": _parse_csv,
    ".jsonl": _parse_jsonl,
    ".parquet": _parse_parquet,
}
