"""All statements on `event`: what happened in a study, in order, written in the transaction that made it so.

The lock of the study is held by whoever writes one, so the sequence of a study is the order of its commits.
Events are kept as long as their study, unless an operator has those of studies that ended long ago removed: then an
event `pruned` stands in the place of the last one that was.
"""

from datetime import timedelta
from typing import Any

from sqlalchemy import BigInteger, String, bindparam, cast, delete, func, insert, select, update

from service.store.sql.statements import Row, Statement
from service.store.sql.tables import event
from service.store.sql.upsert import insert_into
from service.store.sql.webhook_tables import webhook, webhook_progress
from service.store.transaction import Transaction
from spezia.contract.event import Event, EventsPruned, StudyChanged, TrialChanged

HOLD = timedelta(seconds=10)
"""For how long events wait at most for one with a lower number: many times as long as a transaction takes to commit."""

MOST_LOOKED_AT = 1_000
"""Largest number of events of all studies that one look goes through."""

_PRUNED = EventsPruned().kind
_SNAPSHOT = func.pg_current_snapshot()
_RUNNING = (
    cast(cast(func.pg_snapshot_xmin(_SNAPSHOT), String), BigInteger).label("oldest"),
    cast(cast(func.pg_snapshot_xmax(_SNAPSHOT), String), BigInteger).label("following"),
)
"""Ids of the oldest transaction that runs, and of the next one, as the statement sees the database."""

_ADD = Statement(insert(event).returning(event.c.sequence))


def _note_pending(database: str) -> Any:
    """Note for each webhook of a study that its last event may have to be told; a webhook hears of no event before."""
    latest = select(func.max(event.c.sequence)).where(event.c.study_uuid == bindparam("of_study")).scalar_subquery()
    of_study = (webhook.c.study_uuid.is_(None)) | (webhook.c.study_uuid == bindparam("of_study"))
    progress = select(webhook.c.webhook_id, bindparam("of_study", type_=String()), latest - 1, latest).where(of_study)
    columns = ["webhook_id", "study_uuid", "sequence", "latest"]
    statement = insert_into(webhook_progress, database).from_select(columns, progress)
    return statement.on_conflict_do_update(
        index_elements=["webhook_id", "study_uuid"], set_={"latest": statement.excluded.latest}
    )


_NOTE_PENDING = Statement(_note_pending)


def add(tx: Transaction, study_uuid: str, study_id: int, new: Event) -> None:
    """Store what has happened in a study, under the study's lock."""
    row = {"study_uuid": study_uuid, "kind": new.kind, "payload": _payload(new), "at": tx.now}
    tx.write(_ADD.first(tx.trials.noting_event(study_id), **row))
    if isinstance(new, StudyChanged) or (isinstance(new, TrialChanged) and new.state not in ("RUNNING", "WAITING")):
        tx.write(_NOTE_PENDING.rows(of_study=study_uuid))


def after(tx: Transaction, study_uuid: str, sequence: int, limit: int) -> list[Row]:
    """Return up to ``limit`` rows of events of a study whose sequence is above ``sequence``, in order."""
    wanted = select(event).where(event.c.study_uuid == study_uuid, event.c.sequence > sequence)
    return list(tx.connection.execute(wanted.order_by(event.c.sequence).limit(limit)))


def numbers_since(tx: Transaction, study_uuid: str, sequence: int) -> set[int] | None:
    """Return the numbers of the trials of a study that something has happened to behind event number ``sequence``;
    ``None``: that is not known any more.
    """
    number = event.c.payload["number"].as_integer()
    wanted = select(number).distinct().where(event.c.study_uuid == study_uuid, event.c.sequence > sequence)
    found = set(tx.connection.scalars(wanted.where(event.c.kind.in_(("trial", "value", _PRUNED)))))
    return None if None in found else found


def last(tx: Transaction, study_uuid: str) -> int:
    """Return the sequence of the last event of a study; 0 if it has none."""
    found = tx.connection.execute(select(func.max(event.c.sequence)).where(event.c.study_uuid == study_uuid))
    return found.scalar_one() or 0


def settled(tx: Transaction, after: int) -> int:
    """Return up to which number the events of all studies are complete, from ``after`` on: none will be added below.

    Each study's lock orders its own events alone. On PostgreSQL, that of one study may be committed before that of
    another which has got a lower number: behind a number that is missing, events are held back until it is there, or
    the transactions that may hold it have ended without it. One that writes elsewhere on the server for long may hold
    it as far as anyone can tell, so nothing is held back for longer than `HOLD`.
    """
    columns = (event.c.sequence, event.c.at, *(_RUNNING if tx.has_others else ()))
    wanted = select(*columns).where(event.c.sequence > after).order_by(event.c.sequence)
    complete = after
    for row in tx.connection.execute(wanted.limit(MOST_LOOKED_AT)):
        if tx.has_others and row.sequence > complete + 1 and tx.now - row.at < HOLD:
            is_final = tx.caches.event_gaps.is_final(complete, row.sequence, row.oldest, row.following)
            if not is_final:
                break
        complete = row.sequence
    return complete


def last_of_all(tx: Transaction) -> int:
    """Return the sequence of the last event of all studies; 0 if there is none."""
    return tx.connection.execute(select(func.max(event.c.sequence))).scalar_one() or 0


def latest(tx: Transaction) -> int:
    """Return a number near the last of all events, below which none will be added; 0 while there are none."""
    numbers = select(event.c.sequence).order_by(event.c.sequence.desc()).limit(MOST_LOOKED_AT)
    last_ones = list(tx.connection.scalars(numbers))
    return settled(tx, last_ones[-1]) if last_ones else 0


def prunable_until(tx: Transaction, study_uuid: str) -> int:
    """Return up to which number the events of an ended study may be removed: those before its end; 0: none."""
    of_study = event.c.study_uuid == study_uuid
    end = select(func.max(event.c.sequence)).where(of_study, event.c.kind == StudyChanged.model_fields["kind"].default)
    before = select(func.max(event.c.sequence)).where(of_study, event.c.sequence < end.scalar_subquery())
    return tx.connection.execute(before).scalar_one() or 0


def n_prunable(tx: Transaction, study_uuid: str, until: int) -> int:
    """Return how many events of a study up to number ``until`` are there, besides one that stands for others."""
    wanted = select(func.count()).where(event.c.study_uuid == study_uuid, event.c.sequence <= until)
    return tx.connection.execute(wanted.where(event.c.kind != _PRUNED)).scalar_one()


def prune(tx: Transaction, study_uuid: str, until: int, limit: int) -> int:
    """Remove up to ``limit`` events of a study below number ``until``, whose place the event `pruned` takes; return how
    many.
    """
    own = (event.c.study_uuid == study_uuid, event.c.sequence < until)
    marker = update(event).where(event.c.study_uuid == study_uuid, event.c.sequence == until)
    tx.connection.execute(marker.values(kind=_PRUNED, payload=_payload(EventsPruned())))
    some = select(event.c.sequence).where(*own).order_by(event.c.sequence).limit(limit)
    return tx.connection.execute(delete(event).where(event.c.sequence.in_(some))).rowcount


def forget_study(tx: Transaction, study_uuid: str) -> None:
    """Drop the events of a study."""
    tx.connection.execute(delete(event).where(event.c.study_uuid == study_uuid))


def _payload(new: Event) -> dict[str, Any]:
    return new.model_dump(mode="json", exclude={"kind"})
