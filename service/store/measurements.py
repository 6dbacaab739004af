"""All statements on `measurement`: every evaluation that was accepted, with the answer it was given."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import and_, bindparam, delete, func, insert, select

from service.store.leases import Lease
from service.store.optuna.tables import trials
from service.store.sql.statements import Call, Row, Statement
from service.store.sql.tables import lease, measurement, study_spec
from service.store.transaction import Transaction
from spezia.contract.protocol import Report

_HELD = and_(
    measurement.c.study_uuid == lease.c.study_uuid,
    measurement.c.number == lease.c.number,
    measurement.c.attempt == lease.c.attempt,
)
_DECIDED = Statement(
    select(
        measurement.c.step,
        measurement.c.value,
        measurement.c.should_prune,
        measurement.c.reason,
        measurement.c.keep_model,
    )
    .join(lease, _HELD)
    .where(
        lease.c.lease_id == bindparam("of_id"),
        (measurement.c.step >= bindparam("from_step")) | measurement.c.should_prune,
    )
)
_OF_ATTEMPT = Statement(
    select(measurement)
    .where(
        measurement.c.study_uuid == bindparam("of_study"),
        measurement.c.number == bindparam("of_number"),
        measurement.c.attempt == bindparam("of_attempt"),
    )
    .order_by(measurement.c.step)
)
_OF_LEASE = Statement(
    select(measurement).join(lease, _HELD).where(lease.c.lease_id == bindparam("of_id")).order_by(measurement.c.step)
)
_ADD = Statement(insert(measurement))


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The answer to the report of one evaluation."""

    step: int
    value: float
    """Value that was reported."""
    should_prune: bool
    reason: str | None
    keep_model: bool


def add(tx: Transaction, held: Lease, report: Report, answer: Answer) -> None:
    """Store an accepted evaluation with its answer."""
    row = _ADD.rows(
        study_uuid=held.study_uuid,
        number=held.number,
        attempt=held.attempt,
        step=report.step,
        epoch=report.epoch,
        optimizer_steps=report.optimizer_steps,
        value=report.value,
        metrics=report.metrics,
        is_final=report.final,
        should_prune=answer.should_prune,
        reason=answer.reason,
        keep_model=answer.keep_model,
        reported_at=tx.now,
    )
    tx.write(row)


def copy(tx: Transaction, rows: list[Row], attempt: int) -> None:
    """Give an attempt that goes on from a checkpoint the evaluations that were reported before it."""
    if rows:
        tx.connection.execute(insert(measurement), [row._asdict() | {"attempt": attempt} for row in rows])


def decided(lease_id: str, from_step: int) -> Call[list[Answer]]:
    """Ask for the answers to an attempt's reports of ``from_step`` and later, and for the one that ended it early."""
    return _DECIDED.then(_answers, of_id=lease_id, from_step=from_step)


def of_lease(lease_id: str) -> Call[list[Row]]:
    """Ask for the evaluations of the attempt that holds a lease, in the order of their steps."""
    return _OF_LEASE.rows(of_id=lease_id)


def of_attempt(tx: Transaction, study_uuid: str, number: int, attempt: int) -> list[Row]:
    """Return the evaluations of one attempt in the order of their steps."""
    return tx.ask(_OF_ATTEMPT.rows(of_study=study_uuid, of_number=number, of_attempt=attempt))


def of_trial(tx: Transaction, study_uuid: str, number: int) -> list[Row]:
    """Return the evaluations of a trial in the order of attempt and step."""
    wanted = select(measurement).where(*_of_trial(study_uuid, number))
    return list(tx.connection.execute(wanted.order_by(measurement.c.attempt, measurement.c.step)))


def of_last_attempt(tx: Transaction, study_uuid: str, number: int) -> list[Row]:
    """Return the evaluations of the last attempt that made any, in order, with those that it went on from."""
    rows = of_trial(tx, study_uuid, number)
    return [row for row in rows if row.attempt == rows[-1].attempt]


def last_of_study(tx: Transaction, study_uuid: str, numbers: list[int]) -> dict[int, Row]:
    """Return the last evaluation of the last attempt of each of some trials, by number."""
    # from one row a trial, so that the primary key finds the one evaluation of each, however many there are
    same = (measurement.c.study_uuid == study_spec.c.uuid, measurement.c.number == trials.c.number)
    last_attempt = select(func.max(measurement.c.attempt)).where(*same).correlate(study_spec, trials).scalar_subquery()
    in_last = measurement.c.attempt == last_attempt
    last_step = select(func.max(measurement.c.step)).where(*same, in_last).correlate(study_spec, trials)
    wanted = (
        select(measurement)
        .select_from(study_spec)
        .join(trials, trials.c.study_id == study_spec.c.study_id)
        .join(measurement, and_(*same, in_last, measurement.c.step == last_step.scalar_subquery()))
        .where(study_spec.c.uuid == study_uuid, trials.c.number.in_(numbers))
    )
    return {row.number: row for row in tx.connection.execute(wanted)}


def forget_study(tx: Transaction, study_uuid: str) -> None:
    """Drop the evaluations of a study."""
    tx.connection.execute(delete(measurement).where(measurement.c.study_uuid == study_uuid))


def _answers(rows: list[Row]) -> list[Answer]:
    return [Answer(**row._asdict()) for row in rows]


def _of_trial(study_uuid: str, number: int) -> tuple[Any, ...]:
    return measurement.c.study_uuid == study_uuid, measurement.c.number == number
