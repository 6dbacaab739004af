"""POST /v1/studies/{name}/resume: new trials again, after a pause."""

from service.errors import StudyEnded
from service.lifecycle.studies.state_machine import settle
from service.store import studies
from service.store.store import Store


def resume(store: Store, name: str) -> None:
    """Resume a paused study; repeating is harmless.

    Raises:
        StudyNotFound: There is none of this name.
        StudyEnded: It is over, or about to be.
    """
    with store.writing() as tx:
        study = studies.lock(tx, name)
        if study.has_ended or study.state == "stopping":
            raise StudyEnded(f"study {name!r} is {study.state}; only a paused study can be resumed")
        settle(tx, studies.change(tx, study, state="running"))
