"""Which format an uploaded file has, by its content: its name is only the sender's claim."""

import codecs
import csv
import json
from pathlib import Path

from service.errors import Invalid
from spezia.common.archives import MAGIC
from spezia.contract.dataset import Format
from spezia.contract.problem import FieldProblem

CHUNK_BYTES = 1 << 20
_MAX_LINE_BYTES = 16 << 20
_BYTE_ORDER_MARK = "\ufeff"
_PARQUET = b"PAR1"
_PACKED = MAGIC | {
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "zstandard",
    b"\x04\x22\x4d\x18": "lz4",
    b"7z\xbc\xaf": "7z",
    b"Rar!": "rar",
}
_SEPARATORS = (",", ";", "\t", "|")
_TAR_AT, _TAR = 257, b"ustar"


def detect_format(path: Path) -> Format:
    """Return the format of an uploaded file, reading all of it.

    Raises:
        Invalid: The file is empty, packed, not UTF-8, or none of CSV, JSONL and Parquet.
    """
    with path.open("rb") as file:
        head = file.read(512)
        if not head:
            raise _invalid("the file is empty")
        for magic, name in _PACKED.items():
            if head.startswith(magic):
                raise _invalid(f"this is a {name} file; unpack it and send the CSV, JSONL or Parquet file itself")
        if head[_TAR_AT:].startswith(_TAR):
            raise _invalid("this is a tar archive; unpack it and send one file")
        if head.startswith(_PARQUET):
            return _check_parquet(path)
        _check_text(path)
        file.seek(0)
        first = file.readline(_MAX_LINE_BYTES).decode("utf-8", "replace").removeprefix(_BYTE_ORDER_MARK).strip(" \r\n")
    return _format_of_text(first)


def _check_parquet(path: Path) -> Format:
    with path.open("rb") as file:
        size_bytes = file.seek(0, 2)
        file.seek(max(0, size_bytes - len(_PARQUET)))
        if size_bytes < 12 or file.read() != _PARQUET:
            raise _invalid("the file begins like Parquet but lacks its end, so it was cut off; send the whole file")
    return "parquet"


def _check_text(path: Path) -> None:
    decoder = codecs.getincrementaldecoder("utf-8")()
    n_read = 0
    with path.open("rb") as file:
        while True:
            chunk = file.read(CHUNK_BYTES)
            try:
                text = decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                near = max(0, n_read + error.start - 3)
                raise _invalid(f"the file is not UTF-8 (near byte {near}); convert it to UTF-8") from None
            if "\0" in text:
                raise _invalid("the file holds null characters, so it is not CSV, JSONL or Parquet")
            if not chunk:
                return
            n_read += len(chunk)


def _format_of_text(first: str) -> Format:
    if first.startswith("["):
        raise _invalid("this is one JSON array; write one JSON object per line")
    if first.startswith("{"):
        try:
            row = json.loads(first)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise _invalid("the first line is not a whole JSON object; write one JSON object per line")
        if not row:
            raise _invalid("the first line has no fields; a row needs at least a text")
        return "jsonl"
    try:
        n_columns = max(len(next(csv.reader([first], delimiter=each), [])) for each in _SEPARATORS)
    except csv.Error as error:
        raise _invalid(f"the first line is not the header of a CSV file: {error}") from None
    if n_columns < 2:
        raise _invalid("this is not CSV (its first line does not name two columns), JSONL or Parquet")
    return "csv"


def _invalid(message: str) -> Invalid:
    return Invalid(FieldProblem(field="body", message=message))
