"""All statements on `files_folder`: by which file the services on a database know the folder of uploaded files."""

from typing import Any
from uuid import uuid4

from sqlalchemy import Row, delete, select

from service.store.sql.tables import files_folder
from service.store.sql.upsert import insert_of
from service.store.transaction import Transaction


def mark(tx: Transaction, place: str) -> bool:
    """Note a new marker for the folder at ``place``; ``False``: another service has, and its transaction is over."""
    row = {"folder_id": 1, "marker": uuid4().hex, "place": place}
    statement = insert_of(tx.connection, files_folder).values(row).on_conflict_do_nothing()
    return tx.connection.execute(statement.returning(files_folder.c.marker)).first() is not None


def find(tx: Transaction) -> Row[Any] | None:
    """Return the row of the folder; ``None``: no service has marked one."""
    return tx.connection.execute(select(files_folder)).first()


def forget(tx: Transaction) -> None:
    """Let the next service mark its folder."""
    tx.connection.execute(delete(files_folder))
