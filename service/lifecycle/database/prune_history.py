"""Remove what finished studies keep beyond their results once it is old: events, evaluations, webhook deliveries.

Of a study stay the event of its end and those behind it, all evaluations of the trials that lead, of trial 0 (the
baseline, where there is one) and of those whose model is kept, and the last evaluation of each other trial. Optuna's
own values, which samplers and pruners read, are not touched.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

from pydantic import BaseModel

from service.failpoints import failpoint
from service.store import artifacts, events, measurements, studies, study_summaries, webhooks
from service.store.store import Store
from service.store.studies import StudyRow
from service.store.transaction import Transaction

ROWS_AT_ONCE = 5_000
"""How many rows one transaction removes at most: others wait for its locks."""

WARNING = "old events and evaluations were removed (`spezia db prune`): of most trials only the last evaluation is left"
"""What the study says of itself from then on."""


class PrunedStudy(BaseModel):
    """What is removed of one study."""

    study: str
    n_events: int
    n_evaluations: int


class Pruned(BaseModel):
    """What is removed, or would be."""

    is_dry_run: bool
    """Whether nothing was removed."""
    before: datetime
    """Instant before which studies ended and deliveries were made."""
    studies: list[PrunedStudy]
    """Those of which something is removed."""
    n_deliveries: int


def prune_history(store: Store, older_than: timedelta, *, is_dry_run: bool) -> Pruned:
    """Remove, in short transactions, what is old of studies that ended before; interrupted, it goes on when run again.

    Raises:
        Unavailable: The database does not answer; what was removed stays removed.
    """
    with store.reading() as tx:
        before = tx.now - older_than
        old = studies.ended_before(tx, before)
        n_deliveries = webhooks.n_deliveries(tx, before)
    found = [pruned for uuid in old if (pruned := _prune_study(store, uuid, before, is_dry_run)) is not None]
    if not is_dry_run:
        _in_batches(store, lambda tx: webhooks.prune_deliveries(tx, before, ROWS_AT_ONCE))
    return Pruned(is_dry_run=is_dry_run, before=before, studies=found, n_deliveries=n_deliveries)


def _prune_study(store: Store, uuid: str, before: datetime, is_dry_run: bool) -> PrunedStudy | None:
    with store.writing() as tx:
        study = _locked(tx, uuid, before)
        if study is None:
            return None
        until = events.prunable_until(tx, uuid)
        summary = study_summaries.find(tx, uuid)
        kept = {0, *artifacts.kept_models(tx, uuid), *([] if summary is None else summary.leaders)}
        pruned = PrunedStudy(
            study=study.name,
            n_events=events.n_prunable(tx, uuid, until),
            n_evaluations=measurements.n_superseded(tx, uuid, kept),
        )
        if not pruned.n_events and not pruned.n_evaluations:
            return None
        if not is_dry_run and WARNING not in study.warnings:
            studies.change(tx, study, warnings=[*study.warnings, WARNING])

    def remove(tx: Transaction) -> int:
        if _locked(tx, uuid, before) is None:
            return 0
        n_removed = events.prune(tx, uuid, until, ROWS_AT_ONCE)
        return n_removed or measurements.prune(tx, uuid, kept, ROWS_AT_ONCE)

    if not is_dry_run:
        _in_batches(store, remove)
    return pruned


def _locked(tx: Transaction, uuid: str, before: datetime) -> StudyRow | None:
    """The study under its lock; ``None`` if it was deleted or has gone on meanwhile."""
    study = studies.lock_by_uuid(tx, uuid)
    is_old = study is not None and study.has_ended and study.finished_at is not None and study.finished_at < before
    return study if is_old else None


def _in_batches(store: Store, remove: Callable[[Transaction], int]) -> None:
    """Remove rows, some in each transaction, until none is left."""
    n_removed = 1
    while n_removed:
        failpoint("prune.batch")
        with store.writing() as tx:
            n_removed = remove(tx)
