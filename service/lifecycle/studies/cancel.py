"""POST /v1/studies/{name}/cancel: end the study now."""

from service.lifecycle.studies.state_machine import begin_stopping, settle
from service.store import studies
from service.store.store import Store


def cancel(store: Store, name: str) -> None:
    """Start nothing more and tell running trials to end; they hear of it within one heartbeat.

    Repeating is harmless; a study that is already stopping is cancelled all the same.

    Raises:
        StudyNotFound: There is none of this name.
    """
    with store.writing() as tx:
        study = studies.lock(tx, name)
        if not study.has_ended:
            settle(tx, begin_stopping(tx, study, "cancelled"))
