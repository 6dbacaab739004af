"""All statements on `sent_checkpoint`: checkpoints of paused trials that workers without them wait for, and those that
have come.

A checkpoint is known by the lease under which it was written. That lease has ended, so the right to upload the
checkpoint is a token of its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import and_, bindparam, delete, exists, func, or_, select, update

from service.store import attempts
from service.store.optuna.tables import trials
from service.store.sql.statements import Call, Row, Statement
from service.store.sql.tables import attempt, sent_checkpoint, study_spec
from service.store.sql.upsert import insert_of
from service.store.transaction import Transaction

_HAS_COME = sent_checkpoint.c.sha256.is_not(None)
_FIND = Statement(
    select(sent_checkpoint).where(
        sent_checkpoint.c.lease_id == bindparam("of_id"), sent_checkpoint.c.token == bindparam("of_token")
    )
)
_AWAITED = Statement(
    select(sent_checkpoint)
    .where(
        sent_checkpoint.c.worker_id == bindparam("of_worker"),
        sent_checkpoint.c.wanted_until > bindparam("at", type_=sent_checkpoint.c.wanted_until.type),
        ~_HAS_COME,
    )
    .order_by(sent_checkpoint.c.wanted_until)
)
_LEASE_IDS = Statement(
    select(sent_checkpoint.c.lease_id)
    .join(study_spec, study_spec.c.uuid == sent_checkpoint.c.study_uuid)
    .where(study_spec.c.study_id == bindparam("study_id"))
)


@dataclass(frozen=True, kw_only=True)
class CheckpointRow:
    """A checkpoint of a paused trial that is to come through the service, or has come."""

    lease_id: str
    """Lease of the attempt that wrote it, which has ended; the folder of the file is named after it."""
    study_uuid: str
    number: int
    attempt: int
    step: int
    worker_id: str
    """Worker that holds it."""
    versions: Mapping[str, str]
    """Versions of what that worker trains with: no other one may go on from it."""
    token: str
    """Secret by which it may be uploaded."""
    wanted_until: datetime
    """Instant from which on nobody waits for it any more."""
    worth_seconds: float
    """Longest upload that is worth it."""
    size_bytes: int | None = None
    """``None`` until it has come, as is its hash."""
    sha256: str | None = None


def want(tx: Transaction, wanted: CheckpointRow) -> None:
    """Ask for a checkpoint; harmless where it has been asked for."""
    tx.connection.execute(insert_of(tx.connection, sent_checkpoint).values(**vars(wanted)).on_conflict_do_nothing())


def awaited_of(worker_id: str, now: datetime) -> Call[list[CheckpointRow]]:
    """Ask for the checkpoints of a worker that others still wait for, in the order in which they cease to."""
    return _AWAITED.then(lambda rows: [_from_row(row) for row in rows], of_worker=worker_id, at=now)


def find(lease_id: str, token: str) -> Call[CheckpointRow | None]:
    """Ask for a checkpoint by the token for its upload; ``None``: nobody waits for it any more."""
    return _FIND.first(_from_row, of_id=lease_id, of_token=token)


def accept(tx: Transaction, lease_id: str, size_bytes: int, sha256: str) -> bool:
    """Note that a checkpoint has come, and wake whoever waits for it; return whether it is still asked for."""
    wanted = sent_checkpoint.c.lease_id == lease_id
    came = update(sent_checkpoint).where(wanted).values(size_bytes=size_bytes, sha256=sha256)
    tx.make_work()
    return tx.connection.execute(came).rowcount == 1


def of_study(tx: Transaction, study_uuid: str) -> dict[int, CheckpointRow]:
    """Return the newest checkpoint that was asked for of each trial of a study, by number; it may have come."""
    wanted = select(sent_checkpoint).where(sent_checkpoint.c.study_uuid == study_uuid)
    rows = tx.connection.execute(wanted.order_by(sent_checkpoint.c.attempt))
    return {row.number: _from_row(row) for row in rows}


def come_of(tx: Transaction, study_uuid: str, number: int, attempt: int) -> CheckpointRow | None:
    """Return the checkpoint that an attempt at a trial has written, if it has come; else ``None``."""
    return next((one for one in _come(tx, study_uuid, number) if one.attempt == attempt), None)


def come_for(tx: Transaction, study_uuid: str, number: int, versions: Mapping[str, str]) -> CheckpointRow | None:
    """Return the newest checkpoint of a trial that has come and that these versions go on from; ``None``: none has."""
    return next((one for one in _come(tx, study_uuid, number) if one.versions == versions), None)


def used_bytes(tx: Transaction) -> int:
    """Return the bytes that all checkpoints take that have come."""
    return int(tx.connection.execute(select(func.coalesce(func.sum(sent_checkpoint.c.size_bytes), 0))).scalar_one())


def lease_ids(study_id: int) -> Call[set[str]]:
    """Ask for the leases of a study whose checkpoints were asked for; each names a folder."""
    return _LEASE_IDS.then(lambda rows: {row.lease_id for row in rows}, study_id=study_id)


def folders(tx: Transaction) -> set[str]:
    """Return the names of all folders that hold a checkpoint, or may."""
    return set(tx.connection.execute(select(sent_checkpoint.c.lease_id)).scalars())


def take_of_trial(tx: Transaction, study_uuid: str, number: int) -> set[str]:
    """Drop the checkpoints of one trial; return their leases, whose folders are to be removed."""
    of_trial = (sent_checkpoint.c.study_uuid == study_uuid, sent_checkpoint.c.number == number)
    gone = delete(sent_checkpoint).where(*of_trial).returning(sent_checkpoint.c.lease_id)
    return set(tx.connection.execute(gone).scalars())


def take_unwanted(tx: Transaction) -> set[str]:
    """Drop the checkpoints that nobody will go on from any more; return their leases.

    Their trials have ended or paused again since. One that has not come goes as soon as its trial goes on without it.
    """
    its_trial = (
        exists()
        .where(study_spec.c.uuid == sent_checkpoint.c.study_uuid)
        .where(trials.c.study_id == study_spec.c.study_id, trials.c.number == sent_checkpoint.c.number)
        .where(trials.c.state.in_(("WAITING", "RUNNING")))
    )
    later = exists().where(
        attempt.c.study_uuid == sent_checkpoint.c.study_uuid,
        attempt.c.kind == "trial",
        attempt.c.number == sent_checkpoint.c.number,
        attempt.c.attempt > sent_checkpoint.c.attempt,
    )
    has_gone_on = or_(later.where(attempt.c.end == attempts.PAUSED), and_(later, ~_HAS_COME))
    gone = delete(sent_checkpoint).where(or_(~its_trial, has_gone_on)).returning(sent_checkpoint.c.lease_id)
    return set(tx.connection.execute(gone).scalars())


def forget_study(tx: Transaction, study_uuid: str) -> None:
    """Drop what was asked for of a study's trials; the caller removes the folders after its commit."""
    tx.connection.execute(delete(sent_checkpoint).where(sent_checkpoint.c.study_uuid == study_uuid))


def _come(tx: Transaction, study_uuid: str, number: int) -> list[CheckpointRow]:
    """The checkpoints of a trial that have come, the newest first."""
    of_trial = (sent_checkpoint.c.study_uuid == study_uuid, sent_checkpoint.c.number == number, _HAS_COME)
    rows = tx.connection.execute(select(sent_checkpoint).where(*of_trial).order_by(sent_checkpoint.c.attempt.desc()))
    return [_from_row(row) for row in rows]


def _from_row(row: Row) -> CheckpointRow:
    return CheckpointRow(**row._asdict())
