"""The fields by which log lines name a lease."""

from service.store.leases import Lease
from service.store.studies import StudyRow


def lease_fields(study: StudyRow, held: Lease) -> dict[str, object]:
    """Return the fields of a log line about a lease; its token, a secret, is not among them."""
    trial = {} if held.kind == "prepare" else {"trial": held.trial_number}
    return {
        "study": study.name,
        "work": held.kind,
        **trial,
        "attempt": held.attempt,
        "worker_id": held.worker_id,
        "lease_id": held.lease_id,
    }
