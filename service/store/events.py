"""All statements on `event`: what happened in a study, in order, written in the transaction that made it so.

The lock of the study is held by whoever writes one, so the sequence of a study is the order of its commits.
Events are kept as long as their study.
"""

from typing import Any

from sqlalchemy import JSON, Row, String, delete, insert, literal, select

from service.contract.event import Happening
from service.store.optuna_tables import trials
from service.store.tables import Instant, event, study_spec
from service.store.transaction import Transaction


def add(tx: Transaction, study_uuid: str, happening: Happening) -> None:
    row = {"study_uuid": study_uuid, "kind": happening.kind, "payload": _payload(happening), "at": tx.now}
    tx.connection.execute(insert(event), row)


def add_of_trial(tx: Transaction, trial_id: int, happening: Happening) -> None:
    """As `add`, for the study that the trial belongs to."""
    row = (
        select(
            study_spec.c.uuid,
            literal(happening.kind, String),
            literal(_payload(happening), JSON),
            literal(tx.now, Instant),
        )
        .join(trials, trials.c.study_id == study_spec.c.study_id)
        .where(trials.c.trial_id == trial_id)
    )
    tx.connection.execute(insert(event).from_select(["study_uuid", "kind", "payload", "at"], row))


def after(tx: Transaction, study_uuid: str, sequence: int, limit: int) -> list[Row[Any]]:
    """Up to ``limit`` events of a study behind ``sequence``, in order."""
    wanted = select(event).where(event.c.study_uuid == study_uuid, event.c.sequence > sequence)
    return list(tx.connection.execute(wanted.order_by(event.c.sequence).limit(limit)))


def forget_study(tx: Transaction, study_uuid: str) -> None:
    tx.connection.execute(delete(event).where(event.c.study_uuid == study_uuid))


def _payload(happening: Happening) -> dict[str, Any]:
    return happening.model_dump(mode="json", exclude={"kind"})
