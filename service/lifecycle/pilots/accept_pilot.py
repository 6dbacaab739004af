"""What comes of a pilot, a small run: its result is stored, and so is its failure, which may show a hopeless study."""

from service.errors import OutcomeRefused
from service.lifecycle.pilots.start_pilot import awaits_pilots
from service.store import pilots, studies
from service.store.leases import Lease
from service.store.pilots import PilotRow
from service.store.studies import StudyRow
from service.store.transaction import Transaction
from spezia.contract.failure import Failure
from spezia.contract.outcomes import SmallOutcome

_NEVER_SUCCEEDS = ("data_error", "config_error")
"""What is wrong with the data or the search space stays wrong."""

_SAYS_NOTHING = ("diverged", "budget")
"""Params that were too bold, or a study whose time was up, leave other trials their chance."""


def accept_pilot(
    tx: Transaction, study: StudyRow, held: Lease, outcome: SmallOutcome
) -> tuple[StudyRow, Failure | None]:
    """Store the result of a pilot that a worker has told, under the study's lock; the caller settles the study.

    Returns:
        As `note_failed_pilot`.

    Raises:
        OutcomeRefused: The outcome has neither metrics nor a failure, or both, or metrics without the objective's.
    """
    if (outcome.metrics is None) == (outcome.failure is None):
        raise OutcomeRefused("a small run ends with metrics or with a failure, and not with both")
    if outcome.failure is not None:
        return note_failed_pilot(tx, study, held.number, outcome.failure)
    assert outcome.metrics is not None
    value = outcome.metrics.get(study.spec.metric)
    if value is None:
        raise OutcomeRefused(f"the metrics of a small run must include the objective, {study.spec.metric}")
    run = PilotRow(number=held.number, value=value, metrics=outcome.metrics, failure=None)
    pilots.add(tx, study.uuid, run)
    return study, None


def note_failed_pilot(
    tx: Transaction, study: StudyRow, number: int, failure: Failure
) -> tuple[StudyRow, Failure | None]:
    """Store the failure of a pilot, and warn of it on the study.

    Returns:
        The study as it is now; and the failure by which it should end before it costs much, if this pilot shows that
        no trial can succeed: there is a mistake in the data or the search space, or every pilot has failed and not
        because params were too bold.
    """
    if study.ending is not None:
        return study, None  # it ends anyway, and this pilot was stopped for it
    pilots.add(tx, study.uuid, PilotRow(number=number, value=None, metrics=None, failure=failure))
    named = f"the small run of trial {number} failed as {failure.failure_class}: {failure.message}"
    study = studies.change(tx, study, warnings=[*study.warnings, named])
    if failure.failure_class in _NEVER_SUCCEEDS:
        return study, failure.model_copy(update={"message": named})
    failures = [run.failure for run in pilots.of_study(tx, study.uuid).values()]
    is_hopeless = all(one is not None and one.failure_class not in _SAYS_NOTHING for one in failures)
    if is_hopeless and not awaits_pilots(tx, study):
        message = f"no small run succeeded; the last: {failure.message}"
        return study, failure.model_copy(update={"message": message})
    return study, None
