"""All statements on `artifact` and `dropped_folder`: the files of uploaded models."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, bindparam, delete, exists, select, update

from service.files.stored_file import StoredFile, lease_folder
from service.store.leases import Lease
from service.store.sql.statements import Call, Statement
from service.store.sql.tables import HIDDEN, artifact, dropped_folder, lease, sent_checkpoint, study_spec
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
    files: list[StoredFile]

    @property
    def size_bytes(self) -> int:
        """Size of its files together."""
        return sum(file.size_bytes for file in self.files)


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


def of_trial(tx: Transaction, study_uuid: str, number: int) -> list[StoredFile]:
    """Return the visible files of a trial's model, by name."""
    model = _models(tx, artifact.c.study_uuid == study_uuid, artifact.c.number == number, artifact.c.is_visible)
    return model[number].files if model else []


def _models(tx: Transaction, *which: Any) -> dict[int, KeptModel]:
    rows: dict[int, list[Row[Any]]] = {}
    for row in tx.connection.execute(select(artifact).where(*which).order_by(artifact.c.file)):
        rows.setdefault(row.number, []).append(row)
    return {
        number: KeptModel(
            number=number,
            lease_id=files[0].lease_id,
            files=[_stored(row) for row in files],
        )
        for number, files in rows.items()
    }


def _stored(row: Row[Any]) -> StoredFile:
    return StoredFile(folder=lease_folder(row.lease_id), name=row.file, size_bytes=row.size_bytes, sha256=row.sha256)


def all_files(tx: Transaction, *, are_visible: bool) -> list[StoredFile]:
    """Return all files that are visible, or all that are not."""
    wanted = select(artifact).where(artifact.c.is_visible == are_visible)
    return [_stored(row) for row in tx.connection.execute(wanted.order_by(artifact.c.lease_id, artifact.c.file))]


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
        statement = insert_of(tx.connection, dropped_folder).on_conflict_do_nothing()
        tx.connection.execute(statement, [{"lease_id": lease_id} for lease_id in lease_ids])


def drop_stray(tx: Transaction, lease_id: str) -> None:
    """Remember the folder of a lease that has gone, if no row tells of a file in it: what came for it came too late."""
    rows = (lease, artifact, sent_checkpoint)
    if not any(tx.connection.execute(select(exists().where(one.c.lease_id == lease_id))).scalar() for one in rows):
        drop_folders(tx, {lease_id})


def dropped_folders(tx: Transaction) -> set[str]:
    """Return the folders that are to be removed."""
    return set(tx.connection.execute(select(dropped_folder.c.lease_id)).scalars())


def forget_dropped(tx: Transaction, lease_ids: set[str]) -> None:
    """Remember folders no longer, since they have been removed."""
    tx.connection.execute(delete(dropped_folder).where(dropped_folder.c.lease_id.in_(lease_ids)))
