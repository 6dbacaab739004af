"""Take the result of a small run, and end the study if it shows that no trial can succeed."""

from service.contract.study import Failure
from service.contract.worker import SmallOutcome
from service.errors import OutcomeRefused
from service.lifecycle.settle import begin_stopping
from service.lifecycle.start_small import is_starting_small
from service.store import small_runs, studies
from service.store.leases import Lease
from service.store.small_runs import SmallRunRow
from service.store.studies import StudyRow
from service.store.transaction import Transaction

_HOPELESS = ("data_error", "config_error")
"""What is wrong with the data or the space stays wrong."""


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
    value = outcome.metrics.get(study.spec.objective.metric)
    if value is None:
        raise OutcomeRefused(f"the metrics of a small run must hold the objective, {study.spec.objective.metric}")
    run = SmallRunRow(number=held.number, value=value, metrics=outcome.metrics, failure=None)
    small_runs.add(tx, study.uuid, run)
    return study


def note_failed_small(tx: Transaction, study: StudyRow, number: int, failure: Failure) -> StudyRow:
    """Note a small run without a result.

    A warning on the study, unless it is hopeless: a mistake in data or space, or every small run has failed and not
    because params were too bold. Then the study ends here, before it has cost much.
    """
    if study.ending is not None:
        return study  # it ends anyway, and this run was stopped for it
    small_runs.add(tx, study.uuid, SmallRunRow(number=number, value=None, metrics=None, failure=failure))
    named = f"the small run of trial {number} failed as {failure.failure_class}: {failure.message}"
    study = studies.change(tx, study, warnings=[*study.warnings, named])
    if failure.failure_class in _HOPELESS:
        return _end(tx, study, failure, named)
    failures = [run.failure for run in small_runs.of_study(tx, study.uuid).values()]
    is_hopeless = all(one is not None and one.failure_class != "diverged" for one in failures)
    if is_hopeless and not is_starting_small(tx, study):
        return _end(tx, study, failure, f"no small run succeeded; the last: {failure.message}")
    return study


def _end(tx: Transaction, study: StudyRow, failure: Failure, message: str) -> StudyRow:
    return begin_stopping(tx, study, "failed", failure.model_copy(update={"message": message}))
