"""End what Optuna's own tools have left without its other half: RUNNING trials of no worker, leases of no trial."""

from functools import partial

from service.lifecycle.leases.take_back import take_back
from service.lifecycle.one_by_one import one_by_one
from service.lifecycle.studies.rungs import STUDY_ENDED, end_at_rung
from service.lifecycle.studies.state_machine import settle
from service.rung_marks import pause_of
from service.store import leases, studies, trials
from service.store.leases import Lease
from service.store.store import Store
from spezia.contract.failure import Failure

_ORPHAN = Failure(failure_class="lost", message="this trial was begun outside Spezia, so none of its workers runs it")

_ENDED_ELSEWHERE = Failure(failure_class="lost", message="this trial was ended outside Spezia while a worker ran it")


def end_orphans(store: Store) -> int:
    """End RUNNING trials that have no lease, so that their studies can end; return how many there were.

    One that was paused when another program began it is paused again.
    """
    with store.reading() as tx:
        found = trials.orphans(tx)
    return sum(one_by_one(found, lambda orphan: _end_one(store, *orphan)))


def _end_one(store: Store, study_uuid: str, number: int) -> bool:
    with store.writing() as tx:
        study = studies.lock_by_uuid(tx, study_uuid)
        trial = None if study is None else trials.find(tx, study, number)
        if study is None or trial is None or (study_uuid, number) not in trials.orphans(tx):
            return False
        if pause_of(trial) is None:
            trials.finish(tx, study, trial, "FAIL", None, _ORPHAN)
        elif study.state == "stopping":
            end_at_rung(tx, study, [trial], STUDY_ENDED)
        else:
            trials.put_back(tx, study, trial)
        settle(tx, study)
    return True


def end_leases_of_ended_trials(store: Store) -> int:
    """End the leases of trials that do not run any more, so that their workers go on to others; return how many."""
    with store.reading() as tx:
        found = leases.of_ended_trials(tx)
    return sum(one_by_one(found, partial(_end_lease, store)))


def _end_lease(store: Store, held: Lease) -> bool:
    with store.writing() as tx:
        study = studies.lock_by_uuid(tx, held.study_uuid)
        trial = None if study is None else trials.find(tx, study, held.number)
        if study is None or trial is None or trials.is_running(trial):
            return False
        ended = tx.ask(leases.end(held.lease_id, held.token))
        if ended is None:
            return False
        take_back(tx, study, ended, _ENDED_ELSEWHERE, is_counted=False)
    return True
