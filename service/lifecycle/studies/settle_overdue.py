"""Move on studies in which no worker does: their deadline has passed, or another program has written trials."""

from functools import partial

from service.lifecycle.one_by_one import one_by_one
from service.lifecycle.studies.state_machine import settle
from service.store import studies, study_summaries
from service.store.store import Store


def settle_overdue(store: Store) -> None:
    """Settle every study whose deadline has passed: it stops, and it ends once nothing of it runs any more."""
    with store.reading() as tx:
        overdue = studies.overdue(tx)
    one_by_one(overdue, partial(_settle, store))


def settle_disagreeing(store: Store) -> None:
    """Settle every study that has finished trials which are not in its summary: stock Optuna has added or ended them.

    They count like any others, so they may have been the last that the study wanted.
    """
    with store.reading() as tx:
        found = study_summaries.disagreeing(tx)
    one_by_one(found, partial(_settle, store))


def _settle(store: Store, study_uuid: str) -> None:
    with store.writing() as tx:
        study = studies.lock_by_uuid(tx, study_uuid)
        if study is not None:
            settle(tx, study)
