"""How often and when a webhook is tried again after a failure."""

import random
from datetime import timedelta

MAX_FAILURES = 15
"""A webhook is disabled after so many failures in a row. With the waits between them a receiver may be away for about
seven hours."""

FIRST_WAIT_SECONDS = 5.0
"""Time from the first failure to the next attempt; it doubles with each further failure."""

MAX_WAIT_SECONDS = 3600.0
"""No wait between two attempts is longer, but for the jitter."""


def backoff(n_failures: int) -> timedelta:
    """Time to wait after the ``n_failures``-th failure in a row, which is 1 at least."""
    seconds = min(FIRST_WAIT_SECONDS * 2.0 ** (n_failures - 1), MAX_WAIT_SECONDS)
    # jitter, so that the webhooks of a receiver that was away do not come back at one moment
    return timedelta(seconds=seconds * random.uniform(0.8, 1.2))
