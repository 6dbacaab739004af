"""All statements on `small_run`: what the pilots of a study came to, small runs of its params on a part of the data."""

from dataclasses import dataclass

from sqlalchemy import delete, insert, select

from service.store.sql.tables import small_run
from service.store.transaction import Transaction
from spezia.contract.failure import Failure


@dataclass(frozen=True, kw_only=True)
class PilotRow:
    """A pilot that has ended."""

    number: int
    value: float | None
    metrics: dict[str, float] | None
    failure: Failure | None
    """Why there is no value; ``None`` if there is one."""


def add(tx: Transaction, study_uuid: str, run: PilotRow) -> None:
    """Store what a pilot came to."""
    row = {
        "study_uuid": study_uuid,
        "number": run.number,
        "value": run.value,
        "metrics": run.metrics,
        "failure": None if run.failure is None else run.failure.model_dump(mode="json"),
        "ended_at": tx.now,
    }
    tx.connection.execute(insert(small_run), row)


def of_study(tx: Transaction, study_uuid: str) -> dict[int, PilotRow]:
    """Return the ended pilots of a study by number, ascending."""
    wanted = select(small_run).where(small_run.c.study_uuid == study_uuid).order_by(small_run.c.number)
    return {
        row.number: PilotRow(
            number=row.number,
            value=row.value,
            metrics=row.metrics,
            failure=None if row.failure is None else Failure(**row.failure),
        )
        for row in tx.connection.execute(wanted)
    }


def forget_study(tx: Transaction, study_uuid: str) -> None:
    """Drop the pilots of a study."""
    tx.connection.execute(delete(small_run).where(small_run.c.study_uuid == study_uuid))
