"""The identity of a database, by which what runs elsewhere knows whose it is."""

from uuid import uuid4

from sqlalchemy import select

from service.store.sql.tables import database_identity
from service.store.sql.upsert import insert_of
from service.store.transaction import Transaction


def identity(tx: Transaction) -> str:
    """Return the identity of the database, drawn when it is first asked for in a transaction that writes.

    It goes with a database that is copied or moved, so the services of a copy must not share a cluster with the others.
    """
    row = {"identity_id": 1, "uuid": uuid4().hex}
    tx.connection.execute(insert_of(tx.connection, database_identity).values(**row).on_conflict_do_nothing())
    uuid: str = tx.connection.execute(select(database_identity.c.uuid)).scalar_one()
    return uuid
