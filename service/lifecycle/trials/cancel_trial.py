"""Cancel one trial (POST /v1/studies/{name}/trials/{number}/cancel)."""

from service.lifecycle.replays.end_replay import cancel_replay
from service.lifecycle.studies.state_machine import settle
from service.lifecycle.trials.find_trial import find_trial
from service.store import leases, studies, trials
from service.store.store import Store
from spezia.contract.failure import Failure

_CANCELLED = Failure(failure_class="cancelled", message="the trial was cancelled before it began")

_CANCELLED_PAUSED = Failure(failure_class="cancelled", message="the trial was cancelled while it was paused")


def cancel_trial(store: Store, name: str, number: int) -> None:
    """Cancel one trial: a WAITING one ends at once, a RUNNING one within a heartbeat; an ended one stays as it is, and
    its replay ends if there is one.

    Raises:
        StudyNotFound, TrialNotFound: There is no such trial.
    """
    with store.writing() as tx:
        study = studies.lock(tx, name)
        trial = find_trial(tx, study, number)
        if trial.state.name == "WAITING":
            failure = _CANCELLED if trials.paused_at(trial) is None else _CANCELLED_PAUSED
            trials.finish(tx, study, trial, "FAIL", None, failure)
            settle(tx, study)
        elif trial.state.name == "RUNNING":
            leases.cancel(tx, study.uuid, "trial", number)
        else:
            cancel_replay(tx, study, number)
