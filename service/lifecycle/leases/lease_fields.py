"""What log lines say of a lease."""

from service.store.leases import Lease
from service.store.studies import StudyRow


def lease_fields(study: StudyRow, held: Lease) -> dict[str, object]:
    """The fields of the log by which a lease is found in it; its token is none of them."""
    trial = {} if held.kind == "prepare" else {"trial": held.number}
    return {
        "study": study.name,
        "work": held.kind,
        **trial,
        "attempt": held.attempt,
        "worker_id": held.worker_id,
        "lease_id": held.lease_id,
    }
