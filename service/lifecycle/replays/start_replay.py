"""Hand out the replay of a trial, under a lease that is no part of the study's search."""

from service.store import attempts, replays
from service.store.attempts import Asker
from service.store.leases import Lease
from service.store.studies import StudyRow
from service.store.transaction import Transaction


def start_replay(tx: Transaction, study: StudyRow, number: int, asker: Asker) -> Lease | None:
    """Grant the replay of a trial of a locked study; ``None``: it has ended, or another worker has it."""
    found = replays.find(tx, study.uuid, number)
    if found is None or found.ended_at is not None or replays.is_held(tx, study.uuid, number):
        return None
    n_past = attempts.count(tx, study.uuid, "replay", number)
    return attempts.begin(tx, study.uuid, "replay", number, asker, n_past=n_past)
