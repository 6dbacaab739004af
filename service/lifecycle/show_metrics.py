"""Show what this process has counted, and what the database says now (GET /metrics)."""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import get_args

from service.errors import Unavailable
from service.lease_and_heartbeat_terms import LEASE_SECONDS
from service.metrics import Fleet, render
from service.store import leases, studies, trials, workers
from service.store.store import Store
from service.store.transaction import Transaction
from spezia.contract.protocol import DeviceKind
from spezia.contract.study import StudyState
from spezia.contract.trial import TrialState


def show_metrics(store: Store) -> bytes:
    """Write the metrics in Prometheus' text format; those of the database are left out when it does not answer."""
    try:
        with store.reading() as tx:
            fleet = _look(tx)
    except Unavailable:
        fleet = None
    return render(store.metrics, fleet)


def _look(tx: Transaction) -> Fleet:
    n_leases, first_expiry = leases.count_and_first_expiry(tx)
    return Fleet(
        studies=_with_zeros(get_args(StudyState), studies.counts(tx)),
        trials=_with_zeros(get_args(TrialState), trials.counts_of_open_studies(tx)),
        paused_trials=trials.n_paused(tx),
        workers=_with_zeros(
            get_args(DeviceKind), Counter(row.device["kind"] for row in workers.all_seen_within(tx, LEASE_SECONDS))
        ),
        leases=n_leases,
        oldest_renewal_seconds=0.0 if first_expiry is None else _age(tx, first_expiry - leases.TERM),
        oldest_expired_seconds=_age(tx, first_expiry),
        oldest_waiting_seconds=_age(tx, trials.waiting_since(tx)),
    )


def _with_zeros(names: Iterable[str], counts: Mapping[str, int]) -> dict[str, int]:
    return {name: counts.get(name, 0) for name in names}


def _age(tx: Transaction, instant: datetime | None) -> float:
    return 0.0 if instant is None else max(timedelta(0), tx.now - instant).total_seconds()
