"""All statements on `measurement`: every evaluation that was accepted, with the answer it was given."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    and_,
    bindparam,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    tuple_,
    union_all,
)

from service.store.leases import Lease
from service.store.optuna.tables import trials
from service.store.sql.statements import Call, Row, Statement, as_it_is
from service.store.sql.tables import PRUNING, lease, measurement, study_spec
from service.store.transaction import Transaction
from spezia.contract.protocol import Report
from spezia.contract.tasks import Direction

_HELD = and_(
    measurement.c.study_uuid == lease.c.study_uuid,
    measurement.c.number == lease.c.number,
    measurement.c.attempt == lease.c.attempt,
)
_ANSWER = (
    select(
        measurement.c.step,
        measurement.c.value,
        measurement.c.should_prune,
        measurement.c.reason,
        measurement.c.keep_model,
    )
    .join(lease, _HELD)
    .where(lease.c.lease_id == bindparam("of_id"))
)
# each by an index of its own: earlier evaluations are not gone through, however many they are; one may be there twice
_DECIDED = Statement(
    union_all(
        _ANSWER.where(measurement.c.step >= bindparam("from_step")),
        _ANSWER.where(PRUNING),
    )
)
_THIS_ATTEMPT = (
    measurement.c.study_uuid == bindparam("of_study"),
    measurement.c.number == bindparam("of_number"),
    measurement.c.attempt == bindparam("of_attempt"),
)
_OF_ATTEMPT = Statement(select(measurement).where(*_THIS_ATTEMPT).order_by(measurement.c.step))
_AT_STEP = Statement(select(measurement).where(*_THIS_ATTEMPT, measurement.c.step == bindparam("of_step")))
_PRUNING = Statement(select(measurement.c.step).where(*_THIS_ATTEMPT, PRUNING).limit(1))
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
        partial=report.partial,
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


def at_step(held: Lease, step: int) -> Call[Row | None]:
    """Ask for the evaluation of an attempt at a step; ``None`` if it has reported none there."""
    return _AT_STEP.first(as_it_is, **_attempt_of(held), of_step=step)


def was_pruned(held: Lease) -> Call[bool]:
    """Ask whether an attempt was told to end early."""
    return _PRUNING.then(bool, **_attempt_of(held))


def of_attempt(tx: Transaction, study_uuid: str, number: int, attempt: int) -> list[Row]:
    """Return the evaluations of one attempt in the order of their steps."""
    return tx.ask(_OF_ATTEMPT.rows(of_study=study_uuid, of_number=number, of_attempt=attempt))


def steps_of_attempt(tx: Transaction, study_uuid: str, number: int, attempt: int) -> Sequence[int]:
    """Return the steps at which one attempt was evaluated, in order."""
    wanted = select(measurement.c.step).where(*_in_attempt(study_uuid, number, attempt)).order_by(measurement.c.step)
    return tx.connection.execute(wanted).scalars().all()


def best_step_of_attempt(
    tx: Transaction, study_uuid: str, number: int, attempt: int, direction: Direction
) -> int | None:
    """Return the step of an attempt's best evaluation of all validation rows, the first of equals, if it has one."""
    best_first = measurement.c.value if direction == "minimize" else measurement.c.value.desc()
    wanted = select(measurement.c.step).where(*_in_attempt(study_uuid, number, attempt), ~measurement.c.partial)
    return tx.connection.execute(wanted.order_by(best_first, measurement.c.step).limit(1)).scalar()


def at_steps(tx: Transaction, study_uuid: str, number: int, attempt: int, steps: Collection[int]) -> list[Row]:
    """Return the evaluations of one attempt at up to some thousand steps, in order."""
    wanted = select(measurement).where(*_in_attempt(study_uuid, number, attempt), measurement.c.step.in_(steps))
    return list(tx.connection.execute(wanted.order_by(measurement.c.step)))


def behind_step(tx: Transaction, study_uuid: str, number: int, attempt: int, step: int, limit: int) -> list[Row]:
    """Return the next ``limit`` evaluations of one attempt behind a step, in order."""
    wanted = select(measurement).where(*_in_attempt(study_uuid, number, attempt), measurement.c.step > step)
    return list(tx.connection.execute(wanted.order_by(measurement.c.step).limit(limit)))


def of_trial(tx: Transaction, study_uuid: str, number: int) -> list[Row]:
    """Return the evaluations of a trial in the order of attempt and step."""
    wanted = select(measurement).where(*_of_trial(study_uuid, number))
    return list(tx.connection.execute(wanted.order_by(measurement.c.attempt, measurement.c.step)))


def of_last_attempt(tx: Transaction, study_uuid: str, number: int) -> list[Row]:
    """Return the evaluations of the last attempt that made any, in order, with those that it went on from."""
    rows = of_trial(tx, study_uuid, number)
    return [row for row in rows if row.attempt == rows[-1].attempt]


def last_at_step(tx: Transaction, study_uuid: str, number: int, step: int) -> Row | None:
    """Return the evaluation at a step of the last attempt that made any; ``None`` if it made none there."""
    last_attempt = select(func.max(measurement.c.attempt)).where(*_of_trial(study_uuid, number)).scalar_subquery()
    wanted = select(measurement).where(
        *_of_trial(study_uuid, number), measurement.c.attempt == last_attempt, measurement.c.step == step
    )
    return tx.connection.execute(wanted).first()


def last_of_study(tx: Transaction, study_uuid: str, numbers: list[int]) -> dict[int, Row]:
    """Return the last evaluation of the last attempt of each of some trials, by number."""
    # in two questions, of which each finds the one evaluation of a trial by the primary key, however many there are: in
    # a join, SQLite may begin with the evaluations, and go through all of them
    same = (measurement.c.study_uuid == study_spec.c.uuid, measurement.c.number == trials.c.number)
    last_attempt = select(func.max(measurement.c.attempt)).where(*same).correlate(study_spec, trials).scalar_subquery()
    last_step = select(func.max(measurement.c.step)).where(*same, measurement.c.attempt == last_attempt)
    places = (
        select(trials.c.number, last_attempt, last_step.correlate(study_spec, trials).scalar_subquery().label("step"))
        .select_from(study_spec)
        .join(trials, trials.c.study_id == study_spec.c.study_id)
        .where(study_spec.c.uuid == study_uuid, trials.c.number.in_(numbers))
    )
    found = [tuple(place) for place in tx.connection.execute(places) if place.step is not None]
    if not found:
        return {}
    is_found = tuple_(*measurement.c["number", "attempt", "step"]).in_(found)
    wanted = select(measurement).where(measurement.c.study_uuid == study_uuid, is_found)
    return {row.number: row for row in tx.connection.execute(wanted)}


def metric_of_study(
    tx: Transaction, study_uuid: str, metric: str, numbers: Collection[int] | None
) -> Iterator[tuple[int, int, int, float | None]]:
    """Yield a metric at each evaluation of a study as number, attempt, step and value, in this order of trials.

    Args:
        numbers: Numbers of some hundred trials that are asked about; ``None``: all.
    """
    value = measurement.c.metrics[metric].as_float()
    wanted = select(measurement.c.number, measurement.c.attempt, measurement.c.step, value)
    wanted = wanted.where(measurement.c.study_uuid == study_uuid)
    if numbers is not None:
        wanted = wanted.where(measurement.c.number.in_(numbers))
    in_order = wanted.order_by(measurement.c.number, measurement.c.attempt, measurement.c.step)
    for row in tx.connection.execute(in_order, execution_options={"yield_per": 10_000}):
        yield tuple(row)


def n_superseded(tx: Transaction, study_uuid: str, kept: Collection[int]) -> int:
    """Return how many evaluations of a study, but for those of the trials ``kept``, are not the last of their trial."""
    wanted = select(func.count()).select_from(measurement).where(*_superseded(study_uuid, kept))
    return tx.connection.execute(wanted).scalar_one()


def prune(tx: Transaction, study_uuid: str, kept: Collection[int], limit: int) -> int:
    """Remove up to ``limit`` evaluations that `n_superseded` counts; return how many."""
    key = measurement.c["study_uuid", "number", "attempt", "step"]
    some = select(*key).where(*_superseded(study_uuid, kept)).limit(limit)
    return tx.connection.execute(delete(measurement).where(tuple_(*key).in_(some))).rowcount


def _superseded(study_uuid: str, kept: Collection[int]) -> tuple[ColumnElement[bool], ...]:
    later = measurement.alias()
    is_behind = or_(
        later.c.attempt > measurement.c.attempt,
        and_(later.c.attempt == measurement.c.attempt, later.c.step > measurement.c.step),
    )
    same = (later.c.study_uuid == measurement.c.study_uuid, later.c.number == measurement.c.number)
    return (
        measurement.c.study_uuid == study_uuid,
        measurement.c.number.not_in(kept),
        exists().where(*same, is_behind),
    )


def forget_study(tx: Transaction, study_uuid: str) -> None:
    """Drop the evaluations of a study."""
    tx.connection.execute(delete(measurement).where(measurement.c.study_uuid == study_uuid))


def _answers(rows: list[Row]) -> list[Answer]:
    return [Answer(**row._asdict()) for row in rows]


def _attempt_of(held: Lease) -> dict[str, Any]:
    return {"of_study": held.study_uuid, "of_number": held.number, "of_attempt": held.attempt}


def _in_attempt(study_uuid: str, number: int, attempt: int) -> tuple[Any, ...]:
    return *_of_trial(study_uuid, number), measurement.c.attempt == attempt


def _of_trial(study_uuid: str, number: int) -> tuple[Any, ...]:
    return measurement.c.study_uuid == study_uuid, measurement.c.number == number
