"""All statements on `study_summary`: what the finished trials of each study come to, so that a list reads no trial.

It is written in the transaction that ends a trial. `is_stale` marks what is yet to be made: of studies older than the
table.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Float, Row, bindparam, delete, func, insert, select, update

from service.store.optuna.tables import IS_PAUSED, UNFINISHED, trials
from service.store.sql.statements import Statement
from service.store.sql.tables import STALE, study_spec, study_summary
from service.store.transaction import Transaction
from spezia.contract.saved import SavedSeconds

_N_UNFINISHED = (
    select(func.count()).select_from(trials).where(trials.c.study_id == study_spec.c.study_id, UNFINISHED)
).correlate(study_spec)
_WANTED = select(
    study_summary,
    _N_UNFINISHED.where(trials.c.state == "WAITING").scalar_subquery().label("waiting"),
    _N_UNFINISHED.where(trials.c.state == "WAITING", IS_PAUSED).scalar_subquery().label("paused"),
    _N_UNFINISHED.where(trials.c.state == "RUNNING").scalar_subquery().label("running"),
).join(study_spec, study_spec.c.uuid == study_summary.c.study_uuid)
_OF_STUDY = Statement(select(study_summary).where(study_summary.c.study_uuid == bindparam("of_study")))
_PUT = Statement(update(study_summary).where(study_summary.c.study_uuid == bindparam("of_study")))
_ADD_SECONDS = Statement(
    update(study_summary)
    .where(study_summary.c.study_uuid == bindparam("of_study"))
    .values(device_seconds=study_summary.c.device_seconds + bindparam("seconds"))
)
_ADD_REPLAY_SECONDS = Statement(
    update(study_summary)
    .where(study_summary.c.study_uuid == bindparam("of_study"))
    .values(replay_seconds=study_summary.c.replay_seconds + bindparam("seconds"))
)
_SAVED = {
    study_summary.c.saved_by_pruning: bindparam("pruning", type_=Float(53)),
    study_summary.c.saved_by_early_stopping: bindparam("early_stopping", type_=Float(53)),
    study_summary.c.saved_by_trunk_cache: bindparam("trunk_cache", type_=Float(53)),
}
_ADD_SAVED = Statement(
    update(study_summary)
    .where(study_summary.c.study_uuid == bindparam("of_study"))
    # with null for what is not known, the sum is null, and stays what it was
    .values({column: func.coalesce(column + more, column, more) for column, more in _SAVED.items()})
)


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What the finished trials of a study come to."""

    complete: int = 0
    """Number of COMPLETE trials."""
    pruned: int = 0
    """Number of PRUNED trials."""
    fail: int = 0
    """Number of FAIL trials."""
    failures: dict[str, int]
    """Number of failed trials by failure class."""
    leaders: list[int]
    """Numbers of the trials that lead, the best first; of one objective at most one."""
    best_value: float | None = None
    """First value of the first of them; ``None`` if none leads."""
    generalization_gap: float | None = None
    """Validation loss minus training loss of the best trial, in nats; ``None`` where one of them is not known, and of
    several objectives."""
    small_runs: dict[str, Any] | None = None
    """What pilots say of full trials, as it is shown; ``None`` where the study has none."""


@dataclass(frozen=True, kw_only=True)
class Totals:
    """What one look at the database says of all trials of a study."""

    summary: Summary | None
    """``None``: it is yet to be made."""
    waiting: int
    """Number of WAITING trials, paused ones among them."""
    paused: int
    """Number of paused trials."""
    running: int
    """Number of RUNNING trials."""
    device_seconds: float
    """Device seconds of all ended attempts but those at replays."""
    replay_seconds: float
    """Device seconds of all ended attempts at replays."""
    saved: SavedSeconds
    """What was saved besides."""


def create(tx: Transaction, study_uuid: str) -> None:
    """Store that a new study has no trials."""
    row = {
        "study_uuid": study_uuid,
        **asdict(Summary(failures={}, leaders=[])),
        "device_seconds": 0.0,
        "replay_seconds": 0.0,
    }
    tx.connection.execute(insert(study_summary), row | {"is_stale": False})


def find(tx: Transaction, study_uuid: str) -> Summary | None:
    """Return the stored summary of a study; ``None``: it is yet to be made."""
    return tx.ask(_OF_STUDY.then(lambda rows: None if not rows else _read(rows[0]), of_study=study_uuid))


def of_studies(tx: Transaction, study_uuids: Sequence[str]) -> dict[str, Totals]:
    """Return what is known of some studies, by UUID, without reading their trials."""
    rows = tx.connection.execute(_WANTED.where(study_summary.c.study_uuid.in_(study_uuids)))
    return {
        row.study_uuid: Totals(
            summary=_read(row),
            waiting=row.waiting,
            paused=row.paused,
            running=row.running,
            device_seconds=row.device_seconds,
            replay_seconds=row.replay_seconds,
            saved=_read_saved(row),
        )
        for row in rows
    }


def stale(tx: Transaction, limit: int) -> list[str]:
    """Return the UUIDs of up to ``limit`` studies whose summary is yet to be made."""
    return list(tx.connection.execute(select(study_summary.c.study_uuid).where(STALE).limit(limit)).scalars())


def disagreeing(tx: Transaction) -> list[str]:
    """Return the UUIDs of studies that have not ended and whose summary lacks a finished trial: another program has
    written it.
    """
    kept = study_summary.c.complete + study_summary.c.pruned + study_summary.c.fail
    # the last number is looked up, and only the unfinished are counted: what has finished is not gone through
    n_trials = select(func.coalesce(func.max(trials.c.number) + 1, 0)).where(trials.c.study_id == study_spec.c.study_id)
    wanted = (
        select(study_summary.c.study_uuid)
        .join(study_spec, study_spec.c.uuid == study_summary.c.study_uuid)
        .where(
            study_spec.c.state.in_(("running", "paused", "stopping")),
            ~study_summary.c.is_stale,
            n_trials.correlate(study_spec).scalar_subquery() != kept + _N_UNFINISHED.scalar_subquery(),
        )
    )
    return list(tx.connection.execute(wanted).scalars())


def put(tx: Transaction, study_uuid: str, summary: Summary) -> None:
    """Store the summary of a locked study."""
    tx.write(_PUT.rows(of_study=study_uuid, **asdict(summary), is_stale=False))


def add_device_seconds(tx: Transaction, study_uuid: str, seconds: float, *, is_replay: bool) -> None:
    """Count the device seconds of an attempt that has ended; those of replays are a sum of their own."""
    add = _ADD_REPLAY_SECONDS if is_replay else _ADD_SECONDS
    tx.write(add.rows(of_study=study_uuid, seconds=seconds))


def add_saved_seconds(tx: Transaction, study_uuid: str, saved: SavedSeconds) -> None:
    """Count what was saved in a trial that has ended."""
    if saved != SavedSeconds():
        tx.write(_ADD_SAVED.rows(of_study=study_uuid, **saved.model_dump()))


def saved_seconds(tx: Transaction, study_uuid: str) -> SavedSeconds:
    """Return what was saved in the trials of a study."""
    return tx.ask(_OF_STUDY.then(lambda rows: _read_saved(rows[0]), of_study=study_uuid))


def forget_study(tx: Transaction, study_uuid: str) -> None:
    """Drop the summary of a study."""
    tx.connection.execute(delete(study_summary).where(study_summary.c.study_uuid == study_uuid))


def _read(row: Row[Any]) -> Summary | None:
    if row.is_stale:
        return None
    return Summary(
        complete=row.complete,
        pruned=row.pruned,
        fail=row.fail,
        failures=row.failures,
        leaders=row.leaders,
        best_value=row.best_value,
        generalization_gap=row.generalization_gap,
        small_runs=row.small_runs,
    )


def _read_saved(row: Any) -> SavedSeconds:
    return SavedSeconds(
        pruning=row.saved_by_pruning,
        early_stopping=row.saved_by_early_stopping,
        trunk_cache=row.saved_by_trunk_cache,
    )
