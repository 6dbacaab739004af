"""Which threads do what, so that nothing that people do holds up a worker.

Calls are synchronous and run in threads (decision 0021). The threads of anyio's own limiter are for people: whatever
is not named here runs in them.
"""

from anyio import CapacityLimiter

N_FOR_PEOPLE = 20
"""Threads of anyio's own limiter, set when the service starts."""

FOR_WORKERS = CapacityLimiter(12)
"""Heartbeats, reports, results and whatever else a worker says: each takes milliseconds."""

FOR_DISPATCH = CapacityLimiter(12)
"""Looks for work, which may propose for seconds: heartbeats must not queue behind them."""

FOR_UPLOADS = CapacityLimiter(4)
"""Pieces of uploaded files on their way to the disk."""
