"""All statements on `event`: what happened in a study, in order, written in the transaction that made it so.

The lock of the study is held by whoever writes one, so the sequence of a study is the order of its commits.
Events are kept as long as their study.
"""

from typing import Any

from sqlalchemy import delete, insert, select

from service.store.sql.statements import Row, Statement
from service.store.sql.tables import event
from service.store.transaction import Transaction
from spezia.contract.event import Event

_ADD = Statement(insert(event).returning(event.c.sequence))


def add(tx: Transaction, study_uuid: str, study_id: int, new: Event) -> None:
    """Store what has happened in a study, under the study's lock."""
    row = {"study_uuid": study_uuid, "kind": new.kind, "payload": _payload(new), "at": tx.now}
    tx.write(_ADD.first(tx.trials.noting_event(study_id), **row))


def after(tx: Transaction, study_uuid: str, sequence: int, limit: int) -> list[Row]:
    """Return up to ``limit`` rows of events of a study whose sequence is above ``sequence``, in order."""
    wanted = select(event).where(event.c.study_uuid == study_uuid, event.c.sequence > sequence)
    return list(tx.connection.execute(wanted.order_by(event.c.sequence).limit(limit)))


def forget_study(tx: Transaction, study_uuid: str) -> None:
    """Drop the events of a study."""
    tx.connection.execute(delete(event).where(event.c.study_uuid == study_uuid))


def _payload(new: Event) -> dict[str, Any]:
    return new.model_dump(mode="json", exclude={"kind"})
