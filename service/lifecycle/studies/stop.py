"""POST /v1/studies/{name}/stop: no new trials, and the study ends when the running ones have."""

from service.lifecycle.studies.state_machine import begin_stopping, settle
from service.store import studies
from service.store.store import Store


def stop(store: Store, name: str) -> None:
    """Let running trials end, and the study with them; repeating is harmless.

    Raises:
        StudyNotFound: There is none of this name.
    """
    with store.writing() as tx:
        study = studies.lock(tx, name)
        if not study.has_ended and study.state != "stopping":
            settle(tx, begin_stopping(tx, study, "complete"))
