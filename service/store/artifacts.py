"""All statements on `artifact` and `dropped_folder`: the files of uploaded models."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, bindparam, delete, exists, insert, select, update

from service.store.leases import Lease
from service.store.sql.statements import Call, Statement
from service.store.sql.tables import HIDDEN, artifact, dropped_folder, lease, study_spec
from service.store.sql.upsert import insert_of
from service.store.transaction import Transaction

_LEASE_IDS = Statement(
    select(artifact.c.lease_id)
    .join(study_spec, study_spec.c.uuid == artifact.c.study_uuid)
    .where(study_spec.c.study_id == bindparam("study_id"))
)


@dataclass(frozen=True, kw_only=True)
class KeptModel:
    """The files of one trial's model, which lie in the folder named after the trial's lease."""

    number: int
    lease_id: str
    files: list[str]
    size_bytes: int


def add(tx: Transaction, held: Lease, file: str, size_bytes: int, sha256: str) -> None:
    """Note a file that was uploaded under a lease; it is not visible before the trial's result is accepted."""
    put(tx, held.lease_id, held.study_uuid, held.number, file, size_bytes, sha256)


def put(tx: Transaction, lease_id: str, study_uuid: str, number: int, file: str, size_bytes: int, sha256: str) -> None:
    """Note a file in the folder of a lease, or that the file has changed."""
    facts = {"size_bytes": size_bytes, "sha256": sha256}
    statement = insert_of(tx.connection, artifact).values(
        lease_id=lease_id,
        file=file,
        study_uuid=study_uuid,
        number=number,
        is_visible=False,
        **facts,
    )
    tx.connection.execute(statement.on_conflict_do_update(index_elements=["lease_id", "file"], set_=facts))


def show(tx: Transaction, lease_id: str) -> None:
    """Make the files of a lease visible: the trial's result has been accepted with them."""
    tx.connection.execute(update(artifact).where(artifact.c.lease_id == lease_id).values(is_visible=True))


def kept_models(tx: Transaction, study_uuid: str) -> dict[int, KeptModel]:
    """Return the visible models of a study by trial number."""
    return _models(tx, artifact.c.study_uuid == study_uuid, artifact.c.is_visible)


def uploaded_model(tx: Transaction, held: Lease) -> KeptModel | None:
    """Return the model that was uploaded under a lease, visible or not; ``None`` if there is no file of one."""
    return _models(tx, artifact.c.lease_id == held.lease_id).get(held.number)


def of_trial(tx: Transaction, study_uuid: str, number: int) -> list[Row[Any]]:
    """Return the rows of the visible files of a trial's model, by name."""
    mine = (artifact.c.study_uuid == study_uuid, artifact.c.number == number, artifact.c.is_visible)
    return list(tx.connection.execute(select(artifact).where(*mine).order_by(artifact.c.file)))


def _models(tx: Transaction, *which: Any) -> dict[int, KeptModel]:
    rows: dict[int, list[Row[Any]]] = {}
    for row in tx.connection.execute(select(artifact).where(*which).order_by(artifact.c.file)):
        rows.setdefault(row.number, []).append(row)
    return {
        number: KeptModel(
            number=number,
            lease_id=files[0].lease_id,
            files=[row.file for row in files],
            size_bytes=sum(row.size_bytes for row in files),
        )
        for number, files in rows.items()
    }


def all_files(tx: Transaction) -> list[Row[Any]]:
    """Return the rows of all files, visible or not."""
    return list(tx.connection.execute(select(artifact).order_by(artifact.c.lease_id, artifact.c.file)))


def lease_ids(study_id: int) -> Call[set[str]]:
    """Ask for the leases of a study that have files, visible or not; each names a folder."""
    return _LEASE_IDS.then(lambda rows: {row.lease_id for row in rows}, study_id=study_id)


def forget(tx: Transaction, lease_id: str) -> None:
    """Drop the rows of a lease's files; the caller removes the folder after its commit."""
    tx.connection.execute(delete(artifact).where(artifact.c.lease_id == lease_id))


def folders(tx: Transaction) -> set[str]:
    """Return the names of all folders that hold a noted file."""
    return set(tx.connection.execute(select(artifact.c.lease_id).distinct()).scalars())


def take_hidden(tx: Transaction) -> set[str]:
    """Drop the rows of files whose lease has ended without a result that shows them; return these leases."""
    is_live = exists().where(lease.c.lease_id == artifact.c.lease_id)
    gone = delete(artifact).where(HIDDEN, ~is_live).returning(artifact.c.lease_id)
    return set(tx.connection.execute(gone).scalars())


def forget_study(tx: Transaction, study_uuid: str) -> None:
    """Drop the files of a study; the caller removes their folders after its commit."""
    tx.connection.execute(delete(artifact).where(artifact.c.study_uuid == study_uuid))


def drop_folders(tx: Transaction, lease_ids: set[str]) -> None:
    """Remember folders that are to be removed after this transaction's commit, in case of a crash before that."""
    if lease_ids:
        tx.connection.execute(insert(dropped_folder), [{"lease_id": lease_id} for lease_id in lease_ids])


def take_dropped(tx: Transaction) -> set[str]:
    """Return the folders that were to be removed, and remember them no longer."""
    gone = delete(dropped_folder).returning(dropped_folder.c.lease_id)
    return set(tx.connection.execute(gone).scalars())
