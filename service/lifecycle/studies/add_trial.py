"""Make room for one more trial."""

from service.lifecycle.studies.change_limits import change_limits
from service.lifecycle.studies.reopen import reopen
from service.store.studies import StudyRow
from service.store.transaction import Transaction


def add_trial(tx: Transaction, study: StudyRow) -> StudyRow:
    """Make room for one trial more than ``n_trials`` in a locked study.

    Raises:
        StudyEnded: The study cannot go on.
        Invalid: A study cannot hold more.
    """
    return reopen(tx, change_limits(tx, study, {"n_trials": study.spec.n_trials + 1}))
