"""GET /v1/studies/{name}/trials/{number}/log."""

from service.errors import TrialNotFound
from service.store import artifacts, studies, trials
from service.store.store import Store


def read_log(store: Store, name: str, number: int, after: int) -> tuple[str, int]:
    """The trial's log behind piece ``after``, and the number of its last piece.

    Raises:
        StudyNotFound, TrialNotFound: There is no such trial.
    """
    with store.reading() as tx:
        study = studies.find(tx, name)
        if trials.find(tx, study, number) is None:
            raise TrialNotFound(name, number)
        pieces = artifacts.read_log(tx, study.uuid, number, after)
    return "".join(piece.text for piece in pieces), pieces[-1].log_id if pieces else after
