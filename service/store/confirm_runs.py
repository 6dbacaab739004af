"""All statements on `confirm_run`: what the best trials of a study and its baseline came to under fresh seeds."""

import json
from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import delete, func, insert, select

from service.store.sql.tables import confirm_run
from service.store.transaction import Transaction
from spezia.contract.confirm import MAX_SEEDS
from spezia.contract.failure import Failure

Run = tuple[int, int]
"""Number of the trial whose params a run has, and of the fresh seed, from 0."""


@dataclass(frozen=True, kw_only=True)
class RunRow:
    """What a run under a fresh seed came to."""

    value: float | None
    row_scores: list[float] | None
    """Value of the objective on each validation row, or on groups of rows; ``None``: not known."""
    failure: Failure | None
    """Why there is no value; ``None`` if there is one."""


def lease_number(run: Run) -> int:
    """Return the number under which leases and attempts know a run."""
    number, seed = run
    return number * MAX_SEEDS + seed


def run_of(lease_number: int) -> Run:
    """Return the run that has this `lease_number`."""
    return divmod(lease_number, MAX_SEEDS)


def add(tx: Transaction, study_uuid: str, run: Run, came_to: RunRow) -> None:
    """Store what a run came to."""
    number, seed = run
    row = {
        "study_uuid": study_uuid,
        "number": number,
        "seed": seed,
        "value": came_to.value,
        "row_scores": None if came_to.row_scores is None else json.dumps(came_to.row_scores),
        "failure": None if came_to.failure is None else came_to.failure.model_dump(mode="json"),
        "ended_at": tx.now,
    }
    tx.connection.execute(insert(confirm_run), row)


def of_study(tx: Transaction, study_uuid: str) -> dict[Run, RunRow]:
    """Return the ended runs of a study."""
    wanted = select(confirm_run).where(confirm_run.c.study_uuid == study_uuid)
    return {
        (row.number, row.seed): RunRow(
            value=row.value,
            row_scores=None if row.row_scores is None else json.loads(row.row_scores),
            failure=None if row.failure is None else Failure(**row.failure),
        )
        for row in tx.connection.execute(wanted)
    }


def ended(tx: Transaction, study_uuid: str) -> set[Run]:
    """Return which runs of a study have ended."""
    wanted = select(confirm_run.c.number, confirm_run.c.seed).where(confirm_run.c.study_uuid == study_uuid)
    return {(row.number, row.seed) for row in tx.connection.execute(wanted)}


def counts(tx: Transaction, study_uuids: Collection[str]) -> dict[str, int]:
    """Return how many runs have ended of each study that has any."""
    counted = select(confirm_run.c.study_uuid, func.count().label("n")).where(confirm_run.c.study_uuid.in_(study_uuids))
    return {row.study_uuid: row.n for row in tx.connection.execute(counted.group_by(confirm_run.c.study_uuid))}


def forget_failed(tx: Transaction, study_uuid: str) -> None:
    """Drop the runs of a study that have failed, so that they are made again should they be wanted again."""
    failed = (confirm_run.c.study_uuid == study_uuid, confirm_run.c.value.is_(None))
    tx.connection.execute(delete(confirm_run).where(*failed))


def forget_study(tx: Transaction, study_uuid: str) -> None:
    """Drop the runs of a study."""
    tx.connection.execute(delete(confirm_run).where(confirm_run.c.study_uuid == study_uuid))
