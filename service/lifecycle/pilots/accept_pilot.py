"""Take the result of a small run, and end the study if it shows that no trial can succeed."""

from service.errors import OutcomeRefused
from service.lifecycle.pilots.note_failed_pilot import note_failed_small
from service.store import small_runs
from service.store.leases import Lease
from service.store.small_runs import SmallRunRow
from service.store.studies import StudyRow
from service.store.transaction import Transaction
from spezia.contract.protocol import SmallOutcome


def accept_small(tx: Transaction, study: StudyRow, held: Lease, outcome: SmallOutcome) -> StudyRow:
    """Note a small run that a worker has told, under the study's lock; the caller settles the study.

    Raises:
        OutcomeRefused: It has neither metrics nor a failure, or both, or metrics without the objective's.
    """
    if (outcome.metrics is None) == (outcome.failure is None):
        raise OutcomeRefused("a small run ends with metrics or with a failure, and not with both")
    if outcome.failure is not None:
        return note_failed_small(tx, study, held.number, outcome.failure)
    assert outcome.metrics is not None
    value = outcome.metrics.get(study.spec.metric)
    if value is None:
        raise OutcomeRefused(f"the metrics of a small run must hold the objective, {study.spec.metric}")
    run = SmallRunRow(number=held.number, value=value, metrics=outcome.metrics, failure=None)
    small_runs.add(tx, study.uuid, run)
    return study
