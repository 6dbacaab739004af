"""Show the beginning of an uploaded data set, and guess what it is for (GET /v1/datasets/{sha256}/preview)."""

from pathlib import Path

from service.errors import NoPreview
from service.lifecycle.datasets.find_dataset import find_dataset
from service.store.store import Store
from spezia.common.guess_columns import preview
from spezia.common.table_head import HEAD_BYTES, BadTable, read_head
from spezia.contract.preview import Preview
from spezia.contract.tasks import Task


def preview_dataset(store: Store, folder: Path, sha256: str, task: Task | None = None) -> Preview:
    """Describe the columns of an uploaded CSV or JSONL file by its first `HEAD_BYTES`.

    Args:
        folder: Folder of the uploaded data sets.
        task: Task whose columns are wanted; ``None``: any.

    Raises:
        DatasetNotFound: Nobody has uploaded such a data set.
        NoPreview: It is Parquet, or no table that can be read.
    """
    dataset = find_dataset(store, sha256)
    if dataset.format == "parquet":
        raise NoPreview(
            "Parquet files are read by workers alone, when a study is prepared; name task and columns in the study "
            "yourself, or upload the table as CSV or JSONL"
        )
    try:
        with (folder / sha256).open("rb") as file:
            head = file.read(HEAD_BYTES)
    except FileNotFoundError:
        raise NoPreview(f"the file of {dataset.reference} has been removed; upload it again") from None
    try:
        return preview(read_head(head, dataset.format), task)
    except BadTable as bad:
        raise NoPreview(f"{dataset.reference} {bad}") from bad
