"""What comes of a run under a fresh seed: its value is stored, and so is its failure, which counts as what it is."""

from service.errors import OutcomeRefused
from service.store import confirm_runs
from service.store.confirm_runs import RunRow
from service.store.leases import Lease
from service.store.studies import StudyRow
from service.store.transaction import Transaction
from spezia.contract.failure import Failure
from spezia.contract.outcomes import ConfirmOutcome


def accept_run(tx: Transaction, study: StudyRow, held: Lease, outcome: ConfirmOutcome) -> None:
    """Store the result of a run that a worker has told, under the study's lock; the caller settles the study.

    Raises:
        OutcomeRefused: The outcome has neither metrics nor a failure, or both, or metrics without the objective's.
    """
    if (outcome.metrics is None) == (outcome.failure is None):
        raise OutcomeRefused("a run that confirms a trial ends with metrics or with a failure, and not with both")
    if outcome.failure is not None:
        note_failed_run(tx, study, held, outcome.failure)
        return
    assert outcome.metrics is not None
    value = outcome.metrics.get(study.spec.metric)
    if value is None:
        raise OutcomeRefused(
            f"the metrics of a run that confirms a trial must include the objective, {study.spec.metric}"
        )
    came_to = RunRow(value=value, row_scores=outcome.row_scores, failure=None)
    confirm_runs.add(tx, study.uuid, confirm_runs.run_of(held.number), came_to)


def note_failed_run(tx: Transaction, study: StudyRow, held: Lease, failure: Failure) -> None:
    """Store the failure of a run, unless it was ended with its study: that says nothing of the trial."""
    if failure.failure_class == "cancelled":
        return
    came_to = RunRow(value=None, row_scores=None, failure=failure)
    confirm_runs.add(tx, study.uuid, confirm_runs.run_of(held.number), came_to)
