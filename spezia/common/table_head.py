"""The beginning of a CSV or JSONL file as rows of values, read by the standard library alone.

At most the first `HEAD_BYTES` are looked at. The rules are those of ``trainer/data/table_files.py``, which reads the
whole file when a study is prepared: what is refused here is refused there, with the same advice.
"""

import codecs
import csv
import io
import json
import re
from dataclasses import dataclass, replace
from typing import Any, Literal

from spezia.common.archives import MAGIC
from spezia.common.plural import plural
from spezia.contract.dataset import Format
from spezia.contract.parquet_head import ParquetHead

HEAD_BYTES = 64 * 1024
"""Number of bytes from the beginning of a file that are looked at."""

MAX_COLUMNS = 100
"""Largest number of columns that are looked at."""

TextFormat = Literal["csv", "jsonl"]
"""Formats that are read here; Parquet is for those to read who have pyarrow, and comes here as lines of JSON."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_SEPARATORS = (",", ";", "\t", "|")
_NOT_TEXT = {**MAGIC, b"PAR1": "Parquet", b"BZh": "bzip2", b"\x28\xb5\x2f\xfd": "zstandard", b"%PDF": "PDF"}
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class BadTable(ValueError):
    """A file is no table that can be read. The message says why and what to do; its name is put in front of it."""


@dataclass(frozen=True, kw_only=True)
class TableHead:
    """The whole rows at the beginning of a table."""

    format: Format
    """Format of the file."""
    separator: str | None
    """Character between the values of a row of a CSV file; ``None`` for JSONL and Parquet."""
    columns: list[str]
    """Names of the columns, of the first `MAX_COLUMNS` of them at most."""
    n_columns: int
    """Number of all columns."""
    rows: list[list[Any]]
    """Values row by row, in the order of ``columns``: strings in CSV, anything of JSON in JSONL and Parquet; ``None``
    where a row has no value."""
    n_rows: int | None
    """Number of all rows of the file; ``None`` where it is not known."""

    @property
    def is_whole(self) -> bool:
        """Whether these are all rows of the file."""
        return self.n_rows == len(self.rows)

    def values(self, column: int) -> list[Any]:
        """Return the values of one column, counted from 0."""
        return [row[column] for row in self.rows]


def read_head(head: bytes, form: TextFormat) -> TableHead:
    """Read the rows at the beginning of a file.

    Args:
        head: the file, or its first `HEAD_BYTES` at least; what is behind them is not looked at. The last line, if it
            is cut there, is left out.
        form: the format, by the file's name or its upload.

    Raises:
        BadTable: the beginning is empty, binary, not UTF-8, malformed, or has no whole line.
    """
    is_whole = len(head) < HEAD_BYTES
    text = _decode(head[:HEAD_BYTES], is_whole)
    return _read_csv(text, is_whole) if form == "csv" else _read_jsonl(text, is_whole)


def read_parquet_lines(head: ParquetHead) -> TableHead:
    """Return the rows that a program with pyarrow has found at the beginning of a Parquet file.

    Raises:
        BadTable: there are none, or the first is too large.
    """
    read = read_head(head.lines.encode(), "jsonl")
    return replace(read, format="parquet", n_columns=head.n_columns, n_rows=head.n_rows)


def _decode(head: bytes, is_whole: bool) -> str:
    for magic, name in _NOT_TEXT.items():
        if head.startswith(magic):
            raise BadTable(f"is a {name} file, not CSV or JSONL; give a table of one example a row")
    if head.startswith(_UTF16):
        raise BadTable("is UTF-16; save it as UTF-8")
    if b"\0" in head:
        raise BadTable("holds null characters, so it is binary and not CSV or JSONL; give a table as text")
    content = head.removeprefix(_BYTE_ORDER_MARK)
    if not content.strip():
        raise BadTable("is empty; give a file of examples" if is_whole else "begins with 64 KiB of blanks; remove them")
    try:
        return codecs.getincrementaldecoder("utf-8")().decode(content, final=is_whole)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        found = f"byte {error.start} (0x{content[error.start]:02x}) is not UTF-8"
        raise BadTable(f"cannot be read in line {line}: {found}; save the file as UTF-8") from None


def _read_csv(text: str, is_whole: bool) -> TableHead:
    first, *others = re.split(r"\r\n?|\n", text, maxsplit=1)
    told = re.fullmatch(r'"?sep=([\x01-\x7f])"?\s*', first, flags=re.IGNORECASE)
    if told is not None:
        if not others or not others[0].strip():
            raise BadTable("holds a line sep=… and nothing else; give a file of examples")
        separator, text = told[1], others[0]
    else:
        # The trainer takes the first that gives the columns of the study, which come from here
        separator = max(_SEPARATORS, key=lambda each: len(next(csv.reader([first], delimiter=each), [])))
    names, *rows = _split(text, separator, is_whole)
    for number, row in enumerate(rows, start=1):
        if len(row) != len(names):
            found = f"{plural(len(row), 'value')}, where the header names {plural(len(names), 'column')}"
            hint = f"put quotes around texts that hold {separator!r}"
            raise BadTable(f"is not a well-formed CSV file: row {number} has {found}; {hint}")
    return TableHead(
        format="csv",
        separator=separator,
        columns=names[:MAX_COLUMNS],
        n_columns=len(names),
        rows=[row[:MAX_COLUMNS] for row in rows],
        n_rows=len(rows) if is_whole else None,
    )


def _split(text: str, separator: str, is_whole: bool) -> list[list[str]]:
    """Return the whole rows of a CSV text, the header first; blank lines are no rows."""
    try:
        # The line that a quote never closes ends as it does for the trainer
        found = list(csv.reader(io.StringIO(text + "\n", newline=""), delimiter=separator))
    except (csv.Error, TypeError, ValueError) as error:  # the last two of a line sep=… with what cannot separate
        raise BadTable(f"is not a well-formed CSV file: {error}") from None
    if not is_whole:
        found = found[:-1]
    rows = [row for row in found if row]
    if not rows:
        raise BadTable("has a first line of more than 64 KiB, or a quote that nothing closes; correct it")
    return rows


def _read_jsonl(text: str, is_whole: bool) -> TableHead:
    lines = text.split("\n")
    objects: list[dict[str, Any]] = []
    for number, line in enumerate(lines if is_whole else lines[:-1], start=1):
        if not line.strip(" \t\r\v\f"):
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            hint = (
                "write one JSON object a line, not one array"
                if line.lstrip().startswith("[")
                else "give one object a line"
            )
            raise BadTable(f"cannot be read in line {number}: not JSON ({error}); {hint}") from None
        if not isinstance(row, dict):
            raise BadTable(f"cannot be read in line {number}: not an object; give one JSON object a line")
        objects.append(row)
    if not objects:
        raise BadTable("has a first line of more than 64 KiB; shorten its values")
    names = list({name: None for row in objects for name in row})
    columns = names[:MAX_COLUMNS]
    return TableHead(
        format="jsonl",
        separator=None,
        columns=columns,
        n_columns=len(names),
        rows=[[row.get(name) for name in columns] for row in objects],
        n_rows=len(objects) if is_whole else None,
    )
