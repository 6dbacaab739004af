"""Whose events are to be followed."""

from service.store import studies
from service.store.store import Store


def find_followed(store: Store, name: str) -> str:
    """The identity of the study of this name, which a later study of the same name does not share.

    Raises:
        StudyNotFound: There is none.
    """
    with store.reading() as tx:
        return studies.find(tx, name).uuid
