"""End orphans: RUNNING trials that somebody began with Optuna's own tools, so that no worker will ever end them."""

from service.lifecycle.one_by_one import one_by_one
from service.lifecycle.studies.state_machine import settle
from service.store import studies, trials
from service.store.store import Store
from spezia.contract.failure import Failure

_ORPHAN = Failure(failure_class="lost", message="this trial was begun outside Spezia, so none of its workers runs it")


def end_orphans(store: Store) -> int:
    """End RUNNING trials that have no lease, so that their studies can end; return how many there were."""
    with store.reading() as tx:
        found = trials.orphans(tx)
    return sum(one_by_one(found, lambda orphan: _end_one(store, *orphan)))


def _end_one(store: Store, study_uuid: str, number: int) -> bool:
    with store.writing() as tx:
        study = studies.lock_by_uuid(tx, study_uuid)
        trial = None if study is None else trials.find(tx, study, number)
        if study is None or trial is None or (study_uuid, number) not in trials.orphans(tx):
            return False
        trials.finish(tx, study, trial, "FAIL", None, _ORPHAN)
        settle(tx, study)
    return True
