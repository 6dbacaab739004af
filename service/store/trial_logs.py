"""All statements on `trial_log`: what trials have said, in pieces."""

from typing import Any

from sqlalchemy import Row, delete, insert, select

from service.store.leases import Lease
from service.store.sql.tables import trial_log
from service.store.transaction import Transaction


def append(tx: Transaction, held: Lease, text: str) -> None:
    """Store a piece of the log of the trial that a lease is for.

    A piece is stored whole: the worker leaves out the middle of a flood (`trainer/supervisor/engine_log.py`), and a
    body is at most 1 MiB (`service/routes/middleware/body_limit.py`).
    """
    stored = text.replace("\0", "\ufffd")  # PostgreSQL stores no null characters
    row = {"study_uuid": held.study_uuid, "number": held.trial_number, "attempt": held.attempt, "text": stored}
    tx.connection.execute(insert(trial_log), row)


def read(tx: Transaction, study_uuid: str, number: int, after: int) -> list[Row[Any]]:
    """Return the pieces of a trial's log with an id above ``after``, in order."""
    of_trial = (trial_log.c.study_uuid == study_uuid, trial_log.c.number == number)
    wanted = select(trial_log).where(*of_trial, trial_log.c.log_id > after).order_by(trial_log.c.log_id)
    return list(tx.connection.execute(wanted))


def last(tx: Transaction, study_uuid: str, number: int, n_pieces: int) -> list[str]:
    """Return the last ``n_pieces`` pieces of a trial's log, in order."""
    of_trial = (trial_log.c.study_uuid == study_uuid, trial_log.c.number == number)
    wanted = select(trial_log.c.text).where(*of_trial).order_by(trial_log.c.log_id.desc()).limit(n_pieces)
    return list(tx.connection.execute(wanted).scalars())[::-1]


def forget_study(tx: Transaction, study_uuid: str) -> None:
    """Drop the logs of a study's trials."""
    tx.connection.execute(delete(trial_log).where(trial_log.c.study_uuid == study_uuid))
