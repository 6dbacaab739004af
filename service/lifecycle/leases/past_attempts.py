"""Find the attempts that count together with the one of a lease."""

from service.store import attempts, replays
from service.store.leases import Lease
from service.store.sql.statements import Row
from service.store.transaction import Transaction


def past_attempts(tx: Transaction, held: Lease) -> list[Row]:
    """Return all attempts at what a lease is for, its own the last; of a replay not those at earlier replays."""
    past = attempts.history(tx, held.study_uuid, held.kind, held.number)
    found = replays.find(tx, held.study_uuid, held.number) if held.kind == "replay" else None
    return past if found is None else [row for row in past if row.attempt >= found.first_attempt]
