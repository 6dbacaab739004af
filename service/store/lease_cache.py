"""Which study a lease belongs to, kept by this process: a report can then lock its study at once."""

from collections import OrderedDict
from threading import Lock

MAX_LEASES = 10_000
"""Number of leases that are remembered."""


class LeaseCache:
    """Studies of the leases that this process has met last; shared by threads. Neither id is ever used again."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._study_of_lease: OrderedDict[str, int] = OrderedDict()

    def put(self, lease_id: str, study_id: int) -> None:
        """Remember which study a lease belongs to."""
        with self._lock:
            self._study_of_lease[lease_id] = study_id
            if len(self._study_of_lease) > MAX_LEASES:
                self._study_of_lease.popitem(last=False)

    def study_of(self, lease_id: str) -> int | None:
        """Return the id of a lease's study, either of which may have ended; ``None`` if the lease is not known here."""
        with self._lock:
            return self._study_of_lease.get(lease_id)
