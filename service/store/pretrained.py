"""All statements on `pretrained_model`: who has uploaded which. The folder of one is named after its SHA-256."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Row, delete, select, text

from service.store.sql.tables import pretrained_model
from service.store.sql.upsert import insert_of
from service.store.transaction import Transaction
from spezia.contract.dataset import PREFIX
from spezia.contract.model_files import Artifact, UploadedModel


def add(tx: Transaction, sha256: str, files: Sequence[Artifact]) -> bool:
    """Note that the viewer has uploaded a model; ``False`` if they had before."""
    row = {
        "sha256": sha256,
        "owner": tx.viewer.owner if tx.viewer else "",
        "files": [file.model_dump() for file in files],
        "uploaded_at": tx.now,
    }
    statement = insert_of(tx.connection, pretrained_model).values(**row).on_conflict_do_nothing()
    return tx.connection.execute(statement.returning(pretrained_model.c.sha256)).first() is not None


def lock(tx: Transaction) -> None:
    """Keep others from adding or dropping models until the transaction ends; on SQLite a writer does so anyway."""
    if tx.has_others:
        tx.connection.execute(text("LOCK TABLE pretrained_model IN SHARE ROW EXCLUSIVE MODE"))


def find(tx: Transaction, sha256: str) -> UploadedModel | None:
    """Return a model that the viewer has uploaded, or anybody if they see all; ``None``: there is none."""
    return _read(tx.connection.execute(_of_viewer_by(tx, sha256)).first())


def find_for_study(tx: Transaction, sha256: str) -> UploadedModel | None:
    """Return what `find` does, and let nobody drop the model before the transaction ends, with the study in it."""
    return _read(tx.connection.execute(_of_viewer_by(tx, sha256).with_for_update(read=True)).first())


def page(tx: Transaction, limit: int, after: str) -> list[UploadedModel]:
    """Return up to ``limit`` models that the viewer has uploaded, or anybody if they see all, by their SHA-256.

    Args:
        after: The list begins behind this SHA-256.
    """
    mine = (pretrained_model.c.sha256 > after, *_of_viewer(tx))
    wanted = select(pretrained_model.c.sha256).distinct().where(*mine)
    found = list(tx.connection.execute(wanted.order_by(pretrained_model.c.sha256).limit(limit)).scalars())
    rows = select(pretrained_model).where(pretrained_model.c.sha256.in_(found), *_of_viewer(tx))
    first = {row.sha256: row for row in tx.connection.execute(rows.order_by(pretrained_model.c.uploaded_at.desc()))}
    return [_shown(first[sha256]) for sha256 in found]


def forget(tx: Transaction, sha256: str) -> bool:
    """Drop a model of the viewer, or of everybody if they see all; return whether nobody has it any more."""
    mine = (pretrained_model.c.sha256 == sha256, *_of_viewer(tx))
    tx.connection.execute(delete(pretrained_model).where(*mine))
    return tx.connection.execute(_of(sha256)).first() is None


def find_of_anybody(tx: Transaction, sha256: str) -> UploadedModel | None:
    """Return a model, whoever has uploaded it; ``None``: nobody has."""
    return _read(tx.connection.execute(_of(sha256).order_by(pretrained_model.c.uploaded_at).limit(1)).first())


def all_of(tx: Transaction) -> list[UploadedModel]:
    """Return all models, each once, however many people have uploaded it."""
    rows = tx.connection.execute(select(pretrained_model).order_by(pretrained_model.c.uploaded_at.desc()))
    return [_shown(row) for row in {row.sha256: row for row in rows}.values()]


def _of_viewer(tx: Transaction) -> tuple[ColumnElement[bool], ...]:
    """Conditions that a row meets which the viewer may see."""
    return () if tx.viewer is None or tx.viewer.sees_all else (pretrained_model.c.owner == tx.viewer.owner,)


def _of_viewer_by(tx: Transaction, sha256: str) -> Any:
    return _of(sha256).where(*_of_viewer(tx)).order_by(pretrained_model.c.uploaded_at)


def _of(sha256: str) -> Any:
    return select(pretrained_model).where(pretrained_model.c.sha256 == sha256)


def _read(row: Row[Any] | None) -> UploadedModel | None:
    return None if row is None else _shown(row)


def _shown(row: Row[Any]) -> UploadedModel:
    files = [Artifact.model_validate(file) for file in row.files]
    return UploadedModel(
        reference=f"{PREFIX}{row.sha256}",
        sha256=row.sha256,
        files=files,
        size_bytes=sum(file.size_bytes for file in files),
        uploaded_at=row.uploaded_at,
    )
