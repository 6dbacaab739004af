"""Upload a data set, which is known by its content from then on (POST /v1/datasets)."""

from collections.abc import Iterable
from pathlib import Path
from uuid import uuid4

from service.lifecycle.datasets.detect_format import detect_format
from service.lifecycle.datasets.find_dataset import find_dataset
from service.lifecycle.limit_bytes import limit_bytes
from service.store import datasets
from service.store.store import Store
from spezia.common.write_durably import make_folder_durably, rename_durably, write_durably
from spezia.contract.dataset import Dataset


def upload_dataset(store: Store, folder: Path, max_bytes: int, chunks: Iterable[bytes]) -> tuple[Dataset, bool]:
    """Store a data set, whole or not at all; return it and whether it is new. The same content again is harmless.

    Raises:
        TooLarge: The data set has more than ``max_bytes``.
        Invalid: The data set is not CSV, JSONL or Parquet.
    """
    make_folder_durably(folder)
    partial = folder / f".{uuid4().hex}"
    refusal = f"the data set is larger than {max_bytes} bytes (SPEZIA_MAX_DATASET_BYTES); send less"
    try:
        size_bytes, sha256 = write_durably(partial, limit_bytes(chunks, max_bytes, refusal))
        form = detect_format(partial)
        rename_durably(partial, folder / sha256)
    finally:
        partial.unlink(missing_ok=True)
    with store.writing() as tx:
        is_new = datasets.add(tx, sha256, form, size_bytes)
    return find_dataset(store, sha256), is_new
