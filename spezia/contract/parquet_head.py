"""The beginning of an uploaded Parquet file, which a worker reads for the service, and the two speak of it."""

from typing import Annotated

from pydantic import Field

from spezia.contract.dataset import Sha256
from spezia.contract.wire import Count, Reply, Text, Wire

MAX_LINES = 64 * 1024
"""Largest number of characters of the rows at the beginning of a Parquet file."""


class HeadToRead(Reply):
    """An uploaded Parquet file whose beginning somebody wants to see."""

    sha256: Sha256
    """SHA-256 of the file, to be fetched from ``/v1/datasets/{sha256}``."""


class ParquetHead(Wire):
    """The first rows of a Parquet file, as a JSONL file would hold them."""

    lines: Annotated[str, Field(max_length=MAX_LINES)]
    """The rows, a JSON object a line, of the first 100 columns; no row where the first one is larger than 64 KiB."""
    n_columns: Count
    """Number of all columns."""
    n_rows: Count
    """Number of all rows."""


class HeadOutcome(Wire):
    """What has come of reading the beginning of a Parquet file: its head or a problem."""

    head: ParquetHead | None = None
    """The first rows; absent where they cannot be read."""
    problem: Text | None = None
    """Why they cannot be read and what to do, a sentence that begins behind the file's name; absent otherwise."""
