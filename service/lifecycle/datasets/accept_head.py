"""Accept what a worker has found at the beginning of a Parquet file (POST /v1/workers/{id}/heads/{sha256})."""

from service.lifecycle.datasets.find_dataset import find_dataset
from service.store import parquet_heads
from service.store.store import Store
from spezia.contract.parquet_head import HeadOutcome


def accept_head(store: Store, sha256: str, outcome: HeadOutcome) -> None:
    """Store the head of a Parquet file, or why there is none; what nobody has asked for, or has already, is ignored.

    Raises:
        DatasetNotFound: Nobody has uploaded such a data set.
    """
    find_dataset(store, sha256)
    with store.writing() as tx:
        parquet_heads.answer(tx, sha256, outcome)
