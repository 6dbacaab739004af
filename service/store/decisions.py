"""All statements on `decision`: why trials were pruned, and whom they were compared with."""

from typing import Any

from sqlalchemy import Row, delete, insert, select

from service.store.sql.tables import decision
from service.store.transaction import Transaction


def add(
    tx: Transaction,
    study_uuid: str,
    number: int,
    attempt: int,
    step: int,
    pruner: str,
    *,
    text: str,
    value: float,
    threshold: float | None,
    rank: int | None,
    rung: int | None,
    peers: list[int],
) -> None:
    """Store why a pruner ended a trial: the reason in words, and the numbers that it went by."""
    row = {
        "study_uuid": study_uuid,
        "number": number,
        "attempt": attempt,
        "step": step,
        "pruner": pruner,
        "reason": text,
        "value": value,
        "threshold": threshold,
        "rank": rank,
        "rung": rung,
        "peers": peers,
        "decided_at": tx.now,
    }
    tx.connection.execute(insert(decision), row)


def of_trial(tx: Transaction, study_uuid: str, number: int) -> list[Row[Any]]:
    """Return the rows of the decisions on a trial, by attempt and step."""
    wanted = select(decision).where(decision.c.study_uuid == study_uuid, decision.c.number == number)
    return list(tx.connection.execute(wanted.order_by(decision.c.attempt, decision.c.step)))


def last_of_study(tx: Transaction, study_uuid: str, limit: int) -> list[Row[Any]]:
    """Return the rows of the last ``limit`` decisions on a study's trials, the newest first."""
    wanted = select(decision).where(decision.c.study_uuid == study_uuid)
    newest_first = wanted.order_by(decision.c.decided_at.desc(), decision.c.number.desc(), decision.c.step.desc())
    return list(tx.connection.execute(newest_first.limit(limit)))


def forget_study(tx: Transaction, study_uuid: str) -> None:
    """Drop the decisions on a study's trials."""
    tx.connection.execute(delete(decision).where(decision.c.study_uuid == study_uuid))
