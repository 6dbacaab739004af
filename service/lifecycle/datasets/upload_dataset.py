"""Upload a data set, which is known by its content from then on (POST /v1/datasets)."""

from service.lifecycle.datasets.detect_format import detect_format
from service.lifecycle.datasets.find_dataset import find_dataset
from service.lifecycle.upload import Upload
from service.store import datasets
from service.store.store import Store
from spezia.contract.dataset import Dataset


def upload_dataset(store: Store, upload: Upload) -> tuple[Dataset, bool]:
    """Keep an upload as a data set; return it and whether it is new. The same content again is harmless.

    Raises:
        Invalid: The data set is not CSV, JSONL or Parquet.
        Unavailable: The data set cannot be stored, for want of space perhaps.
    """
    size_bytes, sha256 = upload.end()
    form = detect_format(upload.path)
    upload.keep_as(sha256)
    with store.writing() as tx:
        is_new = datasets.add(tx, sha256, form, size_bytes)
    return find_dataset(store, sha256), is_new
