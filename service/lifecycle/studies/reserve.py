"""What the next trial may use of a study's ``device_seconds``, decided before it starts."""

from service.store import leases
from service.store.studies import StudyRow
from service.store.transaction import Transaction

MARGIN = 1.5
"""A trial reserves so many times what the longest one so far has used: learning rates and seeds change little of a
trial's length, its epochs and batch size much, and a reservation that is too small wastes the whole trial."""

FIRST_SHARE = 0.25
"""Of what is left, for a trial that starts before any has ended; at least an equal share of the whole."""


def reserve(tx: Transaction, study: StudyRow) -> float | None:
    """Device seconds for the study's next trial; ``None``: it has no such budget; 0: too little is left for one.

    What ended attempts have used and what live leases have reserved never exceeds the budget together. A lost
    worker's attempt counts from its start until it was given up, which may be more than it had reserved.
    """
    budget = study.spec.device_seconds
    if budget is None:
        return None
    spent, longest = leases.trial_seconds(tx, study.uuid)
    left = budget - spent - leases.reserved_seconds(tx, study.uuid)
    wanted = MARGIN * longest if longest else max(FIRST_SHARE * left, budget / study.spec.n_trials)
    return wanted if wanted <= left else 0.0
