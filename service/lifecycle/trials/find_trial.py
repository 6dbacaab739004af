"""Find a trial that must exist."""

from service.errors import TrialNotFound
from service.store import trials
from service.store.studies import StudyRow
from service.store.transaction import Transaction
from service.store.trials import FrozenTrial


def find_trial(tx: Transaction, study: StudyRow, number: int) -> FrozenTrial:
    """Return one trial of a study; it is shared, so not to be changed.

    Raises:
        TrialNotFound: The study has no trial of this number.
    """
    trial = trials.find(tx, study, number)
    if trial is None:
        raise TrialNotFound(study.name, number)
    return trial
