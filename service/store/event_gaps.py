"""Which missing numbers of events are missing for good, by what PostgreSQL says of its transactions.

Numbers are drawn before a commit, so a missing one belongs to a transaction that is yet to commit, or was undone. Who
writes an event has locked its study before, and so has an id as a transaction before it draws a number: whoever holds a
number below one that is seen is older than the next id at that time. Once all ids below that have ended, what is
missing stays so.
"""

from collections import OrderedDict
from threading import Lock

MAX_GAPS = 1_000
"""Number of gaps that are remembered."""


class EventGaps:
    """The gaps that this process has met last; shared by threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._horizons: OrderedDict[tuple[int, int], int] = OrderedDict()

    def is_final(self, before: int, after: int, oldest: int, following: int) -> bool:
        """Return whether the numbers between two events are missing for good.

        Args:
            before: Number of the event before the gap.
            after: Number of the event behind it.
            oldest: Id of the oldest transaction that runs, as the snapshot has it in which they are missing.
            following: Id of the next transaction, likewise.
        """
        with self._lock:
            horizon = self._horizons.setdefault((before, after), following)
            if len(self._horizons) > MAX_GAPS:
                self._horizons.popitem(last=False)
        return oldest >= horizon
