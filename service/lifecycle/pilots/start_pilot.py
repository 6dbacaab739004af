"""Hand out pilots, small runs: the params of a study's first trials, on a fraction of the training data."""

from service.store import attempts, leases, pilots, trials
from service.store.attempts import Asker
from service.store.leases import Lease
from service.store.studies import StudyRow
from service.store.transaction import Transaction


def start_pilot(tx: Transaction, study: StudyRow, asker: Asker) -> Lease:
    """Grant the next pilot of a locked study, one of `pilots_left`."""
    number = pilots_left(tx, study)[0]
    return attempts.begin(
        tx, study.uuid, "small", number, asker, n_past=attempts.count(tx, study.uuid, "small", number)
    )


def pilots_left(tx: Transaction, study: StudyRow) -> list[int]:
    """Numbers of the trials whose pilot nobody runs and nobody has run to its end."""
    held = {lease.number for lease in leases.of_study(tx, study.uuid) if lease.kind == "small"}
    return [number for number in _awaited(tx, study) if number not in held]


def awaits_pilots(tx: Transaction, study: StudyRow) -> bool:
    """Whether pilots of the study have yet to end; no trial begins before."""
    return bool(_awaited(tx, study))


def _awaited(tx: Transaction, study: StudyRow) -> list[int]:
    """Numbers of the trials whose pilot has no result yet. A trial that has ended needs none any more."""
    if study.spec.start_small is None:
        return []
    ended = pilots.of_study(tx, study.uuid)
    waiting = [number for number in trials.waiting(tx, study) if number < study.spec.start_small.trials]
    return [number for number in waiting if number not in ended]
