"""The log of a trial: what its worker appends, and what people read."""

from service.lifecycle.lock_lease import lock_lease
from service.lifecycle.trials.find_trial import find_trial
from service.store import studies, trial_logs
from service.store.store import Store


def append_log(store: Store, lease_id: str, token: str, text: str) -> None:
    """Append lines to the log of the trial that a lease is for; a replay leaves that log as it is.

    Raises:
        LeaseLost: The lease is stale; nothing has changed.
    """
    with store.writing() as tx:
        held = lock_lease(tx, lease_id, token)
        if held.kind != "replay":
            trial_logs.append(tx, held, text)


def read_log(store: Store, name: str, number: int, after: int) -> tuple[str, int]:
    """Return a trial's log behind piece ``after``, and the number of its last piece.

    Raises:
        StudyNotFound, TrialNotFound: There is no such trial.
    """
    with store.reading() as tx:
        study = studies.find(tx, name)
        find_trial(tx, study, number)
        pieces = trial_logs.read(tx, study.uuid, number, after)
    return "".join(piece.text for piece in pieces), pieces[-1].log_id if pieces else after
