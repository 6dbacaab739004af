"""Note a small run without a result."""

from service.lifecycle.pilots.start_pilots import is_starting_small
from service.lifecycle.studies.state_machine import begin_stopping
from service.store import small_runs, studies
from service.store.small_runs import SmallRunRow
from service.store.studies import StudyRow
from service.store.transaction import Transaction
from spezia.contract.failure import Failure

_HOPELESS = ("data_error", "config_error")
"""What is wrong with the data or the space stays wrong."""


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
