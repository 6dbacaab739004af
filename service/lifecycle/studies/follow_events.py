"""Follow what happens in a study, as it happens (GET /v1/studies/{name}/events)."""

from dataclasses import dataclass
from typing import Any

from service.store import events, studies
from service.store.store import Store

PAGE = 100
"""How many events are read at once, which is what a slow reader costs in memory."""


@dataclass(frozen=True, kw_only=True)
class Happened:
    """One event of a study."""

    sequence: int
    kind: str
    payload: dict[str, Any]


def find_followed(store: Store, name: str) -> str:
    """Return the identity of the study of this name, which a later study of the same name does not share.

    Raises:
        StudyNotFound: There is no study of this name.
    """
    with store.reading() as tx:
        return studies.find(tx, name).uuid


def follow_events(store: Store, study_uuid: str, after: int) -> tuple[list[Happened], bool]:
    """Return up to a page of events behind number ``after``, and whether none will follow: the study is over."""
    with store.reading() as tx:
        study = studies.find_by_uuid(tx, study_uuid)
        rows = events.after(tx, study_uuid, after, PAGE)
    happened = [Happened(sequence=row.sequence, kind=row.kind, payload=row.payload) for row in rows]
    return happened, len(rows) < PAGE and (study is None or study.has_ended)
