"""All statements on `replay`: the last replay of each trial that a person has asked for one of."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, exists, select, update

from service.store import attempts
from service.store.sql.statements import Call, Statement
from service.store.sql.tables import UNANSWERED, lease, replay, study_spec
from service.store.sql.upsert import upsert
from service.store.transaction import Transaction

_HELD = exists().where(
    lease.c.study_uuid == replay.c.study_uuid, lease.c.kind == "replay", lease.c.number == replay.c.number
)
_WAITING = Statement(
    select(study_spec.c.study_id, replay.c.number)
    .join(study_spec, study_spec.c.uuid == replay.c.study_uuid)
    .where(UNANSWERED, ~_HELD)
    .order_by(replay.c.requested_at, replay.c.study_uuid, replay.c.number)
)
_ASK = upsert(replay, "study_uuid", "number")


@dataclass(frozen=True, kw_only=True)
class ReplayRow:
    """The replay of one trial."""

    first_attempt: int
    """Number of its first attempt; those before belong to earlier replays of the trial."""
    requested_at: datetime
    ended_at: datetime | None
    """``None`` until it has ended."""
    result: dict[str, Any] | None
    """The comparison as it is shown; ``None`` until it has ended."""


def ask(tx: Transaction, study_uuid: str, number: int) -> None:
    """Have a trial replayed, which takes the place of an earlier replay of it."""
    row = _ASK.rows(
        study_uuid=study_uuid,
        number=number,
        first_attempt=attempts.count(tx, study_uuid, "replay", number) + 1,
        requested_at=tx.now,
        ended_at=None,
        result=None,
    )
    tx.write(row)
    tx.make_work()


def find(tx: Transaction, study_uuid: str, number: int) -> ReplayRow | None:
    """Return the last replay of a trial; ``None``: nobody has asked for one."""
    wanted = select(replay.c.first_attempt, replay.c.requested_at, replay.c.ended_at, replay.c.result)
    row = tx.connection.execute(wanted.where(_is_of(study_uuid, number))).first()
    return None if row is None else ReplayRow(**row._asdict())


def is_held(tx: Transaction, study_uuid: str, number: int) -> bool:
    """Return whether a worker carries out the replay of a trial."""
    held = (lease.c.study_uuid == study_uuid, lease.c.kind == "replay", lease.c.number == number)
    return tx.connection.execute(select(lease.c.lease_id).where(*held)).first() is not None


def end(tx: Transaction, study_uuid: str, number: int, result: dict[str, Any]) -> None:
    """Store the result of a replay."""
    tx.connection.execute(update(replay).where(_is_of(study_uuid, number)).values(ended_at=tx.now, result=result))


def waiting() -> Call[list[tuple[int, int]]]:
    """Ask for the replays that no worker carries out, as id of the study and number of the trial, the oldest first."""
    return _WAITING.then(lambda rows: [(row.study_id, row.number) for row in rows])


def forget_study(tx: Transaction, study_uuid: str) -> None:
    """Drop the replays of a study."""
    tx.connection.execute(delete(replay).where(replay.c.study_uuid == study_uuid))


def _is_of(study_uuid: str, number: int) -> ColumnElement[bool]:
    return and_(replay.c.study_uuid == study_uuid, replay.c.number == number)
