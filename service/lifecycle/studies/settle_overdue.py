"""End studies whose deadline has passed while no worker asks for work or tells a result."""

from functools import partial

from service.lifecycle.one_by_one import one_by_one
from service.lifecycle.studies.state_machine import settle
from service.store import studies
from service.store.store import Store


def settle_overdue(store: Store) -> None:
    """Settle every study whose deadline has passed: it stops, and it ends once nothing of it runs any more."""
    with store.reading() as tx:
        overdue = studies.overdue(tx)
    one_by_one(overdue, partial(_settle, store))


def _settle(store: Store, study_uuid: str) -> None:
    with store.writing() as tx:
        study = studies.lock_by_uuid(tx, study_uuid)
        if study is not None:
            settle(tx, study)
