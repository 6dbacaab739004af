"""Try the params of a failed trial once more (POST /v1/studies/{name}/trials/{number}/retry)."""

from service.errors import TrialNotFailed
from service.lifecycle.studies.change_limits import allow_one_more_trial
from service.lifecycle.trials.find_trial import find_trial
from service.lifecycle.trials.show_trial import show_trial
from service.store import studies, trials
from service.store.store import Store
from spezia.contract.trial import TrialDetail


def retry_trial(store: Store, name: str, number: int) -> TrialDetail:
    """Add a WAITING trial with the params of a FAIL trial; ``n_trials`` grows by one.

    An ended study goes on for this one trial.

    Raises:
        StudyNotFound, TrialNotFound: There is no such trial.
        TrialNotFailed: The trial has another state than FAIL.
        StudyEnded: The study cannot go on.
    """
    with store.writing() as tx:
        study = studies.lock(tx, name)
        failed = find_trial(tx, study, number)
        if failed.state.name != "FAIL":
            raise TrialNotFailed(
                f"trial {number} is {failed.state.name}; only a FAIL trial can be retried. "
                f"To run its params again, POST them to /v1/studies/{name}/trials"
            )
        study = allow_one_more_trial(tx, study)
        added = trials.add(
            tx,
            study,
            "WAITING",
            failed.params,
            failed.distributions,
            system_attrs={},
            user_attrs={trials.RETRY_OF: number},
        )
        return show_trial(store.within(tx), name, added.number)
