"""All statements on `decision`: why trials were pruned, and whom they were compared with."""

from typing import Any

from sqlalchemy import Row, delete, insert, select

from service.store.leases import Lease
from service.store.sql.tables import decision
from service.store.transaction import Transaction


def add(tx: Transaction, held: Lease, step: int, pruner: str, grounds: dict[str, Any]) -> None:
    """Store what a pruner went by: reason, value, threshold, rank, rung and peers."""
    row = {
        "study_uuid": held.study_uuid,
        "number": held.number,
        "attempt": held.attempt,
        "step": step,
        "pruner": pruner,
        "decided_at": tx.now,
    }
    tx.connection.execute(insert(decision), row | grounds)


def of_trial(tx: Transaction, study_uuid: str, number: int) -> list[Row[Any]]:
    """Decisions on a trial, attempt by attempt."""
    wanted = select(decision).where(decision.c.study_uuid == study_uuid, decision.c.number == number)
    return list(tx.connection.execute(wanted.order_by(decision.c.attempt, decision.c.step)))


def forget_study(tx: Transaction, study_uuid: str) -> None:
    tx.connection.execute(delete(decision).where(decision.c.study_uuid == study_uuid))
