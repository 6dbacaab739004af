"""One round of the reaper: end whatever nobody else will end."""

from service.lifecycle.leases.end_orphans import end_leases_of_ended_trials, end_orphans
from service.lifecycle.leases.reap import reap
from service.lifecycle.studies.settle_overdue import settle_disagreeing, settle_overdue
from service.store.store import Store


def reap_all(store: Store) -> None:
    """End leases that have expired, what Optuna's own tools have left unfinished, and studies that are over."""
    reap(store)
    end_orphans(store)
    end_leases_of_ended_trials(store)
    settle_overdue(store)
    settle_disagreeing(store)
