"""Uploaded data sets, addressed by the hash of their content."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from spezia.contract.wire import Count, Reply

PREFIX = "sha256:"
"""Prefix by which a spec names an uploaded data set, as in ``data.train: sha256:…``."""

Format = Literal["csv", "jsonl", "parquet"]
"""File formats that an uploaded data set may have."""

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""A SHA-256 hash in hexadecimal."""

MEDIA_TYPES: dict[Format, str] = {
    "csv": "text/csv",
    "jsonl": "application/x-ndjson",
    "parquet": "application/vnd.apache.parquet",
}
"""The media type with which the service sends a data set of each format."""


class Dataset(Reply):
    """An uploaded data set, which any study may name."""

    reference: str
    """Name of the data set in a spec, to be given as ``data.train``, ``data.validation`` or ``data.test``."""
    sha256: str
    """SHA-256 of the content, in hexadecimal."""
    format: Format
    """File format, recognised from the content."""
    size_bytes: Count
    """Size in bytes."""
    uploaded_at: datetime
    """Time of the first upload of this content."""
