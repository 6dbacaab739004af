"""POST /v1/studies/{name}/pause: no new trials; running ones go on."""

from service.errors import StudyEnded
from service.store import studies
from service.store.store import Store


def pause(store: Store, name: str) -> None:
    """Pause a running study; repeating is harmless.

    Raises:
        StudyNotFound: There is none of this name.
        StudyEnded: It is over, or about to be.
    """
    with store.writing() as tx:
        study = studies.lock(tx, name)
        if study.has_ended or study.state == "stopping":
            raise StudyEnded(f"study {name!r} is {study.state}; only a running study can be paused")
        studies.change(tx, study, state="paused")
