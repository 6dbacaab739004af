"""Find an uploaded data set (GET /v1/datasets/{sha256})."""

from service.errors import DatasetNotFound
from service.files.files import Files
from service.files.stored_file import StoredFile, dataset_file
from service.store import datasets
from service.store.store import Store
from spezia.contract.dataset import PREFIX, Dataset


def find_dataset(store: Store, sha256: str) -> Dataset:
    """Describe the uploaded data set with this SHA-256.

    Raises:
        DatasetNotFound: Nobody has uploaded such a data set.
    """
    with store.reading() as tx:
        row = datasets.find(tx, sha256)
    if row is None:
        raise DatasetNotFound(sha256)
    return Dataset(reference=f"{PREFIX}{sha256}", **row._mapping)


def find_content(store: Store, files: Files, sha256: str) -> tuple[Dataset, StoredFile]:
    """Return an uploaded data set and its file, which is there.

    Raises:
        DatasetNotFound: Nobody has uploaded such a data set, or its file has been removed.
    """
    dataset = find_dataset(store, sha256)
    file = dataset_file(sha256, dataset.size_bytes)
    if not files.has(file):
        raise DatasetNotFound(sha256)
    return dataset, file
