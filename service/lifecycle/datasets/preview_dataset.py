"""Show the beginning of an uploaded data set, and guess what it is for (GET /v1/datasets/{sha256}/preview)."""

from service.errors import NoPreview
from service.files.files import Files
from service.files.stored_file import dataset_file
from service.lease_and_heartbeat_terms import LEASE_SECONDS, MAX_CLAIMS
from service.lifecycle.datasets.find_dataset import find_dataset
from service.store import parquet_heads, workers
from service.store.store import Store
from spezia.common.guess_columns import preview
from spezia.common.table_head import HEAD_BYTES, BadTable, TableHead, read_head, read_parquet_lines
from spezia.contract.preview import Preview, PreviewAwaited
from spezia.contract.tasks import Task


def preview_dataset(store: Store, files: Files, sha256: str, task: Task | None = None) -> Preview | PreviewAwaited:
    """Describe the columns of an uploaded table by its beginning, for which a worker reads a Parquet file.

    Args:
        task: Task whose columns are wanted; ``None``: any.

    Raises:
        DatasetNotFound: Nobody has uploaded such a data set.
        NoPreview: It is no table that can be read.
    """
    dataset = find_dataset(store, sha256)
    file = dataset_file(sha256, dataset.size_bytes)
    if not files.has(file):
        raise NoPreview(f"the file of {dataset.reference} has been removed; upload it again")
    try:
        if dataset.format == "parquet":
            head = _head_by_worker(store, sha256)
        else:
            with files.reading(file, end=HEAD_BYTES) as pieces:
                head = read_head(b"".join(pieces), dataset.format)
    except BadTable as bad:
        raise NoPreview(f"{dataset.reference} {bad}") from bad
    return head if isinstance(head, PreviewAwaited) else preview(head, task)


def _head_by_worker(store: Store, sha256: str) -> TableHead | PreviewAwaited:
    """Return what a worker has read of a Parquet file, or have one read it."""
    with store.reading() as tx:
        found = parquet_heads.find(tx, sha256)
        n_workers = len(workers.all_seen_within(tx, LEASE_SECONDS))
        is_claimed = found is not None and found.claimed_until is not None and found.claimed_until > tx.now
    if found is None:
        with store.writing() as tx:
            parquet_heads.ask(tx, sha256)
    elif found.outcome is not None and found.outcome.head is not None:
        return read_parquet_lines(found.outcome.head)
    elif found.outcome is not None:
        raise BadTable(found.outcome.problem)
    elif found.n_claims >= MAX_CLAIMS and not is_claimed:
        raise BadTable(f"was given to {MAX_CLAIMS} workers, which fell silent; see their logs, then upload it again")
    if is_claimed:
        return PreviewAwaited(n_workers=n_workers, detail="a worker is reading the file")
    if n_workers:
        return PreviewAwaited(n_workers=n_workers, detail="the file is read by the next worker that has nothing to do")
    hint = "none is connected; start one with spezia-worker, or name task and columns yourself"
    return PreviewAwaited(n_workers=0, detail=f"Parquet files are read by workers, and {hint}")
