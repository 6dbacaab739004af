"""POST /v1/datasets: a data set comes in, and is known by its content."""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from uuid import uuid4

from service.errors import TooLarge
from service.lifecycle.datasets.detect_format import detect_format
from service.lifecycle.datasets.find_dataset import find_dataset
from service.store import datasets
from service.store.store import Store
from spezia.contract.dataset import Dataset


def upload_dataset(store: Store, folder: Path, max_bytes: int, chunks: Iterable[bytes]) -> tuple[Dataset, bool]:
    """Store a data set, whole or not at all; return it and whether it is new. The same content again is harmless.

    Raises:
        TooLarge: It has more than ``max_bytes``.
        Invalid: It is not CSV, JSONL or Parquet.
    """
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f".{uuid4().hex}"
    try:
        size_bytes, sha256 = _write(partial, chunks, max_bytes)
        form = detect_format(partial)
        partial.replace(folder / sha256)
    finally:
        partial.unlink(missing_ok=True)
    with store.writing() as tx:
        is_new = datasets.add(tx, sha256, form, size_bytes)
    return find_dataset(store, sha256), is_new


def _write(path: Path, chunks: Iterable[bytes], max_bytes: int) -> tuple[int, str]:
    digest, size_bytes = hashlib.sha256(), 0
    with path.open("xb") as file:
        for chunk in chunks:
            size_bytes += len(chunk)
            if size_bytes > max_bytes:
                raise TooLarge(f"the data set is larger than {max_bytes} bytes (SPEZIA_MAX_DATASET_BYTES); send less")
            digest.update(chunk)
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    return size_bytes, digest.hexdigest()
