"""All statements on `artifact` and `trial_log`: what trials leave behind."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from service.store.leases import Lease
from service.store.tables import artifact, lease, trial_log
from service.store.transaction import Transaction


@dataclass(frozen=True, kw_only=True)
class KeptModel:
    """The files of one trial's model; they lie in the folder named after the lease."""

    number: int
    lease_id: str
    files: list[str]


def add(tx: Transaction, held: Lease, file: str, size_bytes: int, sha256: str) -> None:
    """Note an uploaded file; it is not visible before the trial's result is accepted."""
    dialect: Any = postgresql if tx.connection.dialect.name == "postgresql" else sqlite
    facts = {"size_bytes": size_bytes, "sha256": sha256}
    statement = dialect.insert(artifact).values(
        lease_id=held.lease_id,
        file=file,
        study_uuid=held.study_uuid,
        number=held.number,
        is_visible=False,
        **facts,
    )
    tx.connection.execute(statement.on_conflict_do_update(index_elements=["lease_id", "file"], set_=facts))


def show(tx: Transaction, lease_id: str) -> None:
    tx.connection.execute(update(artifact).where(artifact.c.lease_id == lease_id).values(is_visible=True))


def has_files(tx: Transaction, lease_id: str) -> bool:
    counted = select(func.count()).where(artifact.c.lease_id == lease_id)
    return tx.connection.execute(counted).scalar_one() > 0


def kept_models(tx: Transaction, study_uuid: str) -> dict[int, KeptModel]:
    """Visible models of a study, by trial number."""
    wanted = select(artifact).where(artifact.c.study_uuid == study_uuid, artifact.c.is_visible)
    models: dict[int, KeptModel] = {}
    for row in tx.connection.execute(wanted.order_by(artifact.c.file)):
        model = models.setdefault(row.number, KeptModel(number=row.number, lease_id=row.lease_id, files=[]))
        model.files.append(row.file)
    return models


def lease_ids(tx: Transaction, study_uuid: str) -> set[str]:
    """Folders that belong to a study, visible or not."""
    wanted = select(artifact.c.lease_id).where(artifact.c.study_uuid == study_uuid)
    return set(tx.connection.execute(wanted).scalars())


def forget(tx: Transaction, lease_id: str) -> None:
    """Drop the rows of a folder; the caller removes the folder after its commit."""
    tx.connection.execute(delete(artifact).where(artifact.c.lease_id == lease_id))


def abandoned(tx: Transaction) -> set[str]:
    """Folders of files that are not visible and whose lease is gone, so that they never will be."""
    live = select(lease.c.lease_id)
    wanted = select(artifact.c.lease_id).where(~artifact.c.is_visible, artifact.c.lease_id.not_in(live))
    return set(tx.connection.execute(wanted).scalars())


def needed_folders(tx: Transaction) -> set[str]:
    """Folders that hold files of a row, or may get some: their lease is live."""
    rows, live = select(artifact.c.lease_id), select(lease.c.lease_id)
    return set(tx.connection.execute(rows.union(live)).scalars())


def append_log(tx: Transaction, held: Lease, text: str) -> None:
    row = {"study_uuid": held.study_uuid, "number": held.number, "attempt": held.attempt, "text": text}
    tx.connection.execute(insert(trial_log), row)


def read_log(tx: Transaction, study_uuid: str, number: int, after: int) -> list[Row[Any]]:
    """Log pieces of a trial with an id above ``after``, in order."""
    of_trial = (trial_log.c.study_uuid == study_uuid, trial_log.c.number == number)
    wanted = select(trial_log).where(*of_trial, trial_log.c.log_id > after).order_by(trial_log.c.log_id)
    return list(tx.connection.execute(wanted))
