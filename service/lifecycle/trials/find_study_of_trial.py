"""The study of a trial that must exist."""

from service.errors import TrialNotFound
from service.store import studies, trials
from service.store.transaction import Transaction


def find_study_of_trial(tx: Transaction, name: str, number: int) -> str:
    """Return the study's UUID.

    Raises:
        StudyNotFound, TrialNotFound: There is no such trial.
    """
    study = studies.find(tx, name)
    if trials.find(tx, study, number) is None:
        raise TrialNotFound(name, number)
    return study.uuid
