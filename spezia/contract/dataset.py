"""Uploaded data sets, addressed by their content."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from spezia.contract.wire import Count, Reply

PREFIX = "sha256:"
"""How a spec names an uploaded data set: ``data.train: sha256:…``."""

Format = Literal["csv", "jsonl", "parquet"]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

MEDIA_TYPES: dict[Format, str] = {
    "csv": "text/csv",
    "jsonl": "application/x-ndjson",
    "parquet": "application/vnd.apache.parquet",
}


class Dataset(Reply):
    reference: str
    """What to write as ``data.train``, ``validation`` or ``test`` of a study."""
    sha256: str
    format: Format
    """Read off the content."""
    size_bytes: Count
    uploaded_at: datetime
