"""The limits of the lease protocol: how long a worker may hold a trial, and how often a trial may be lost.

Workers learn theirs, the heartbeat and the length of a lease, when they register (`WorkerTerms`).
"""

HEARTBEAT_SECONDS = 15.0
"""How often a worker renews its leases; six heartbeats in a row must fail before a lease expires."""

LEASE_SECONDS = 90.0
"""How long a lease lasts after it was granted or renewed; a worker that was silent for so long counts as gone."""

REAP_SECONDS = 15.0
"""How often a service looks for leases that have expired."""

OUTAGE_SECONDS = 3 * REAP_SECONDS
"""Silence of all services after which their workers cannot be blamed for theirs, and every lease gets a grace."""

GRACE_SECONDS = LEASE_SECONDS
"""How long every live lease lasts from the end of an outage of the service."""

READ_SECONDS = 60.0
"""How long a worker that is told to read the head of a Parquet file is waited for before another one is told to."""

MAX_CLAIMS = 3
"""How many workers may go silent over one Parquet file before nobody is told to read it any more."""

HOLDER_SECONDS = 60.0
"""How long a paused trial that may go on waits for the worker that has its checkpoint; then any worker may train it
anew up to where it was."""

SCORE_WAIT_SECONDS = 300.0
"""How long a study whose deadline has passed waits for a worker that scores its winner on the test split."""

MAX_COUNTED_ATTEMPTS = 3
"""A trial fails when so many of its attempts ended through its own fault or the loss of its worker."""

MAX_UNCOUNTED_ATTEMPTS = 10
"""A trial also fails when so many of its attempts were given back for reasons that are not its fault; those that ended
in a pause do not count."""
