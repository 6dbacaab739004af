"""Whether a study has as many trials running as it may."""

from service.lifecycle.studies.reserve import reserve
from service.store import leases
from service.store.studies import StudyRow
from service.store.transaction import Transaction


def is_full(tx: Transaction, study: StudyRow) -> bool:
    """Whether no more trials may start now, for ``n_parallel`` or for what is left of ``device_seconds``."""
    limit = study.spec.n_parallel
    if limit is not None and len(leases.of_study(tx, study.uuid)) >= limit:
        return True
    return reserve(tx, study) == 0
