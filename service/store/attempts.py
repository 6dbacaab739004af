"""All statements on `attempt`: every run of a trial, or of what else has leases, kept as long as its study."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4

from sqlalchemy import and_, bindparam, delete, func, insert, select, update

from service.store import leases, study_summaries
from service.store.leases import Kind, Lease
from service.store.sql.statements import Row, Statement
from service.store.sql.tables import attempt, lease, measurement
from service.store.transaction import Transaction
from spezia.contract.assignments import Resume

_BEGIN = Statement(insert(attempt))
_CLOSE = Statement(update(attempt).where(attempt.c.lease_id == bindparam("of_id")))

_IS_OF_SEARCH = attempt.c.kind != "replay"

PAUSED = "paused"
"""End of an attempt whose trial was told to pause; it counts towards no limit."""


@dataclass(frozen=True)
class Asker:
    """A worker that asks for work, and what it computes with."""

    worker_id: str
    device: str
    """Name of its device."""
    device_kind: str
    """Kind of its device, as torch names it."""
    versions: Mapping[str, str]
    """Versions of Python and of the libraries that it trains with, by name."""


def begin(
    tx: Transaction,
    study_uuid: str,
    kind: Kind,
    number: int,
    asker: Asker,
    *,
    n_past: int,
    resume: Resume | None = None,
    reserved_seconds: float | None = None,
) -> Lease:
    """Begin the next attempt at a trial, or at other work, and grant its lease to a worker.

    Args:
        n_past: Number of earlier attempts at the same.
        resume: The checkpoint that the attempt goes on from; ``None``: it begins anew.
        reserved_seconds: Part of the study's ``device_seconds`` that is kept for it; ``None`` without such a budget.
    """
    granted = Lease(
        lease_id=uuid4().hex,
        token=uuid4().hex,
        study_uuid=study_uuid,
        kind=kind,
        number=number,
        attempt=n_past + 1,
        worker_id=asker.worker_id,
        expires_at=tx.now + leases.TERM,
        reserved_seconds=reserved_seconds,
    )
    leases.add(tx, granted)
    begun = _BEGIN.rows(
        lease_id=granted.lease_id,
        study_uuid=study_uuid,
        kind=kind,
        number=number,
        attempt=granted.attempt,
        worker_id=asker.worker_id,
        device=asker.device,
        device_kind=asker.device_kind,
        versions=dict(asker.versions),
        started_at=tx.now,
        is_counted=True,
        device_seconds=0.0,
        resume_attempt=resume.attempt if resume else None,
        resume_step=resume.step if resume else None,
    )
    tx.write(begun)
    return granted


def close(
    tx: Transaction,
    held: Lease,
    end: str,
    *,
    is_counted: bool = True,
    device_seconds: float | None = None,
    outcome: str | None = None,
) -> None:
    """Store how an attempt has ended.

    Args:
        end: State of the trial, class of the failure that ended the attempt, or `PAUSED`.
        is_counted: Whether it counts towards the attempts that a trial may have.
        device_seconds: Without it the time since the start is taken, but no more than the attempt had reserved.
        outcome: Outcome that was accepted, as JSON.
    """
    if device_seconds is None:
        # a worker that lives on unseen ends the trial when that is used up
        longest = math.inf if held.reserved_seconds is None else held.reserved_seconds
        device_seconds = min(age_seconds(tx, held), longest)
    closed = _CLOSE.rows(
        of_id=held.lease_id,
        ended_at=tx.now,
        end=end,
        is_counted=is_counted,
        device_seconds=device_seconds,
        token=held.token,
        outcome=outcome,
    )
    tx.write(closed)
    study_summaries.add_device_seconds(tx, held.study_uuid, device_seconds, is_replay=held.kind == "replay")
    tx.make_work()  # there is room for another trial, or this one waits again
    if end not in ("COMPLETE", "PRUNED", PAUSED):
        tx.after_commit.append(tx.metrics.failures.labels(end).inc)


def count(tx: Transaction, study_uuid: str, kind: Kind, number: int) -> int:
    """Return how many attempts there were at a trial, or at other work that has leases."""
    counted = select(func.count()).select_from(attempt).where(*_same(study_uuid, kind, number))
    return int(tx.connection.execute(counted).scalar_one())


def history(tx: Transaction, study_uuid: str, kind: Kind, number: int) -> list[Row]:
    """Return the rows of all attempts at a trial, or at other work that has leases, first to last."""
    wanted = select(attempt).where(*_same(study_uuid, kind, number)).order_by(attempt.c.attempt)
    return list(tx.connection.execute(wanted))


def resume_of(tx: Transaction, held: Lease) -> Resume | None:
    """Return the checkpoint that the attempt of a lease goes on from; ``None``: it began anew."""
    if held.attempt == 1:
        return None
    wanted = select(attempt.c.resume_attempt, attempt.c.resume_step).where(attempt.c.lease_id == held.lease_id)
    row = tx.connection.execute(wanted).one()
    return None if row.resume_attempt is None else Resume(attempt=row.resume_attempt, step=row.resume_step)


def accepted_outcome(tx: Transaction, lease_id: str, token: str) -> str | None:
    """Return the outcome that was accepted under this very token, as JSON, so that a worker may send it twice."""
    ours = select(attempt.c.outcome).where(attempt.c.lease_id == lease_id, attempt.c.token == token)
    return tx.connection.execute(ours).scalar_one_or_none()


def ended_ids(tx: Transaction, lease_ids: Collection[str]) -> set[str]:
    """Return those of ``lease_ids`` that were leases of this database and have ended."""
    ended = select(attempt.c.lease_id).where(attempt.c.lease_id.in_(lease_ids), attempt.c.ended_at.is_not(None))
    return set(tx.connection.execute(ended).scalars())


def age_seconds(tx: Transaction, held: Lease) -> float:
    """Return for how many seconds the attempt of a lease has been running."""
    wanted = select(attempt.c.started_at).where(attempt.c.lease_id == held.lease_id)
    started_at: datetime = tx.connection.execute(wanted).scalar_one()
    return max(0.0, (tx.now - started_at).total_seconds())


def last_end(tx: Transaction, study_uuid: str) -> datetime | None:
    """Return when the last of a study's ended attempts ended, those of replays left out; ``None`` if none has."""
    wanted = select(func.max(attempt.c.ended_at)).where(attempt.c.study_uuid == study_uuid, _IS_OF_SEARCH)
    ended_at: datetime | None = tx.connection.execute(wanted).scalar_one()
    return ended_at


def budget_seconds(tx: Transaction, study_uuid: str) -> float:
    """Return the device seconds that count against a study's budget: of all ended attempts at trials, and at runs that
    confirm them."""
    of_trials = (attempt.c.study_uuid == study_uuid, attempt.c.kind.in_(("trial", "confirm")))
    total = select(func.coalesce(func.sum(attempt.c.device_seconds), 0.0)).where(*of_trials)
    return float(tx.connection.execute(total).scalar_one())


def last_ends(tx: Transaction, study_uuid: str, limit: int) -> list[Row]:
    """Return the attempts with which the last trials of a study ended as COMPLETE or PRUNED, for a budget or in a
    pause, each with the last step that it has reported.

    Args:
        limit: Number of attempts, those of the highest trial numbers.
    """
    last_step = (
        select(func.max(measurement.c.step))
        .where(
            measurement.c.study_uuid == attempt.c.study_uuid,
            measurement.c.number == attempt.c.number,
            measurement.c.attempt == attempt.c.attempt,
        )
        .correlate(attempt)
        .scalar_subquery()
        .label("last_step")
    )
    wanted = (
        select(attempt.c.number, attempt.c.end, attempt.c.device_seconds, attempt.c.resume_step, last_step)
        .where(attempt.c.study_uuid == study_uuid, attempt.c.kind == "trial")
        .where(attempt.c.end.in_(("COMPLETE", "PRUNED", "budget", PAUSED)))
        .order_by(attempt.c.number.desc())
        .limit(limit)
    )
    return list(tx.connection.execute(wanted))


def live_reports(tx: Transaction, study_uuid: str) -> list[Row]:
    """Return of each running trial of a study that has reported when it began, and its last step and when it came."""
    of_attempt = (
        measurement.c.study_uuid == attempt.c.study_uuid,
        measurement.c.number == attempt.c.number,
        measurement.c.attempt == attempt.c.attempt,
        # what it went on from was reported by another attempt
        measurement.c.step > func.coalesce(attempt.c.resume_step, 0),
    )
    began = (attempt.c.number, attempt.c.started_at, attempt.c.resume_step)
    wanted = (
        select(
            *began, func.max(measurement.c.step).label("step"), func.max(measurement.c.reported_at).label("reported_at")
        )
        .join(lease, lease.c.lease_id == attempt.c.lease_id)
        .join(measurement, and_(*of_attempt))
        .where(lease.c.study_uuid == study_uuid, lease.c.kind == "trial")
        .group_by(*began)
    )
    return list(tx.connection.execute(wanted))


def device_seconds(tx: Transaction, study_uuid: str) -> float:
    """Return the device seconds of all ended attempts of a study, those of replays left out."""
    of_study = (attempt.c.study_uuid == study_uuid, _IS_OF_SEARCH)
    total = select(func.coalesce(func.sum(attempt.c.device_seconds), 0.0)).where(*of_study)
    return float(tx.connection.execute(total).scalar_one())


def forget_study(tx: Transaction, study_uuid: str) -> None:
    """Drop the attempts of a study."""
    tx.connection.execute(delete(attempt).where(attempt.c.study_uuid == study_uuid))


def _same(study_uuid: str, kind: Kind, number: int) -> tuple[Any, ...]:
    return attempt.c.study_uuid == study_uuid, attempt.c.kind == kind, attempt.c.number == number
