"""All statements on `measurement`: every evaluation that was accepted, with the answer it was given."""

from typing import Any

from sqlalchemy import Row, bindparam, delete, insert, select

from service.contract.worker import Report
from service.store.leases import Lease
from service.store.tables import measurement
from service.store.transaction import Transaction

_DECIDED = select(measurement).where(
    measurement.c.study_uuid == bindparam("study_uuid"),
    measurement.c.number == bindparam("number"),
    measurement.c.attempt == bindparam("attempt"),
    (measurement.c.step == bindparam("step")) | measurement.c.should_prune,
)
_ADD = insert(measurement)


def add(
    tx: Transaction, held: Lease, report: Report, *, should_prune: bool, reason: str | None, keep_model: bool
) -> None:
    row = {
        "study_uuid": held.study_uuid,
        "number": held.number,
        "attempt": held.attempt,
        "step": report.step,
        "epoch": report.epoch,
        "optimizer_steps": report.optimizer_steps,
        "value": report.value,
        "metrics": report.metrics,
        "is_final": report.final,
        "should_prune": should_prune,
        "reason": reason,
        "keep_model": keep_model,
        "reported_at": tx.now,
    }
    tx.connection.execute(_ADD, row)


def copy(tx: Transaction, rows: list[Row[Any]], attempt: int) -> None:
    """Give an attempt that goes on from a checkpoint what was reported before it."""
    if rows:
        tx.connection.execute(insert(measurement), [row._asdict() | {"attempt": attempt} for row in rows])


def decided(tx: Transaction, held: Lease, step: int) -> list[Row[Any]]:
    """What an attempt's report of ``step`` was answered, and the report that was answered with its end, if any."""
    mine = {"study_uuid": held.study_uuid, "number": held.number, "attempt": held.attempt, "step": step}
    return list(tx.connection.execute(_DECIDED, mine))


def of_trial(tx: Transaction, study_uuid: str, number: int, attempt: int | None = None) -> list[Row[Any]]:
    """Evaluations of a trial in the order of attempt and step; of one attempt if it is given."""
    wanted = select(measurement).where(*_of_trial(study_uuid, number))
    if attempt is not None:
        wanted = wanted.where(measurement.c.attempt == attempt)
    return list(tx.connection.execute(wanted.order_by(measurement.c.attempt, measurement.c.step)))


def of_last_attempt(tx: Transaction, study_uuid: str, number: int) -> list[Row[Any]]:
    """Evaluations of the last attempt that made any, what it went on from included, in order."""
    rows = of_trial(tx, study_uuid, number)
    return [row for row in rows if row.attempt == rows[-1].attempt]


def last_of_study(tx: Transaction, study_uuid: str, numbers: list[int]) -> dict[int, Row[Any]]:
    """The last evaluation of each of ``numbers``' last attempts."""
    wanted = (
        select(measurement)
        .where(measurement.c.study_uuid == study_uuid, measurement.c.number.in_(numbers))
        .order_by(measurement.c.number, measurement.c.attempt, measurement.c.step)
    )
    return {row.number: row for row in tx.connection.execute(wanted)}


def forget_study(tx: Transaction, study_uuid: str) -> None:
    tx.connection.execute(delete(measurement).where(measurement.c.study_uuid == study_uuid))


def _of_trial(study_uuid: str, number: int) -> tuple[Any, ...]:
    return measurement.c.study_uuid == study_uuid, measurement.c.number == number
