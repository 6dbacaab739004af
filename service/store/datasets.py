"""All statements on `dataset`: what has been uploaded. A file is named after the SHA-256 of its content."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Row, select

from service.files.stored_file import StoredFile, dataset_file
from service.store.sql.tables import dataset
from service.store.sql.upsert import insert_of
from service.store.transaction import Transaction
from spezia.contract.dataset import Format


def add(tx: Transaction, sha256: str, form: Format, size_bytes: int) -> bool:
    """Note an uploaded data set; ``False`` if it was there before."""
    row = {"sha256": sha256, "format": form, "size_bytes": size_bytes, "uploaded_at": tx.now}
    statement = insert_of(tx.connection, dataset).values(**row).on_conflict_do_nothing().returning(dataset.c.sha256)
    return tx.connection.execute(statement).first() is not None


def find(tx: Transaction, sha256: str) -> Row[Any] | None:
    """Return the row of an uploaded data set, or ``None``."""
    return tx.connection.execute(select(dataset).where(dataset.c.sha256 == sha256)).first()


def all_files(tx: Transaction) -> list[StoredFile]:
    """Return the files of all uploaded data sets."""
    rows = tx.connection.execute(select(dataset.c.sha256, dataset.c.size_bytes).order_by(dataset.c.sha256))
    return [dataset_file(row.sha256, row.size_bytes) for row in rows]


def missing(tx: Transaction, sha256s: Iterable[str]) -> set[str]:
    """Return those of some data sets that nobody has uploaded."""
    wanted = set(sha256s)
    found = select(dataset.c.sha256).where(dataset.c.sha256.in_(wanted))
    return wanted - set(tx.connection.execute(found).scalars())
