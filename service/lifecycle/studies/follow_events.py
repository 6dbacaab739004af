"""Follow what happens as it happens, in one study (GET /v1/studies/{name}/events) or in all (GET /v1/events)."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from service.store import events, studies
from service.store.store import Store

PAGE = 100
"""How many events are read at once, which is what a slow reader costs in memory."""


POLL_SECONDS = 0.5
"""How often new events are looked for; another process may have written them."""

_MAX_STUDIES = 1_000
"""Number of studies of which the last look is remembered."""


class SharedLooks:
    """Lets the readers of one study share their looks for new events, so that a hundred cost what one does.

    It is used in one event loop, and never asked about a page that a reader has yet to catch up with.
    """

    def __init__(self, timer: Callable[[], float] = time.monotonic) -> None:
        self._timer = timer
        self._by_study: dict[str, tuple[float, float]] = {}
        """When each study was last looked at, and the number of its last event that is known of."""

    def is_due(self, study_uuid: str, after: int) -> bool:
        """Return whether a reader should look for events behind ``after``: nobody has just done so, or found some."""
        at, last = self._by_study.get(study_uuid, (-math.inf, 0))
        now = self._timer()
        if now - at < POLL_SECONDS and after >= last:
            return False
        if len(self._by_study) >= _MAX_STUDIES:
            self._by_study.clear()
        self._by_study[study_uuid] = now, last
        return True

    def found(self, study_uuid: str, last: int, *, is_over: bool) -> None:
        """Note the number of the last event that a look has told; a study that is over concerns every reader."""
        at, known = self._by_study.get(study_uuid, (-math.inf, 0))
        self._by_study[study_uuid] = at, math.inf if is_over else max(known, last)


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


def follow_events(store: Store, study_uuid: str, after: int) -> tuple[list[Happened], bool, int]:
    """Return up to a page of events behind number ``after``, whether none will follow as the study is over, and the
    number of the last one: of this page, or of the study where nothing is behind ``after``.
    """
    with store.reading() as tx:
        study = studies.find_by_uuid(tx, study_uuid)
        rows = events.after(tx, study_uuid, after, PAGE)
        # a reader may claim to have seen any number, and must not speak for others
        last = rows[-1].sequence if rows else events.last(tx, study_uuid)
    happened = [Happened(sequence=row.sequence, kind=row.kind, payload=row.payload) for row in rows]
    return happened, len(rows) < PAGE and (study is None or study.has_ended), last


def find_beginning(store: Store, seen: int | None) -> int:
    """Return the number of the event behind which a reader of all studies goes on.

    Args:
        seen: Number of the last event that the reader says to have seen; ``None``: none of those so far is to be told.
    """
    with store.reading() as tx:
        # a reader may claim to have seen any number, and must not speak for others
        return events.latest(tx) if seen is None else min(seen, events.last_of_all(tx))


def follow_all_events(store: Store, after: int) -> tuple[list[Happened], bool, int]:
    """Return up to a page of events of all studies that the viewer may see, each with the name of its ``study``.

    They are those behind number ``after``; the rest is as of `follow_events`, but that there is no end, and that the
    number of the last one may be of an event that the viewer does not see.
    """
    with store.reading() as tx:
        until = events.settled(tx, after)
        rows = studies.events_between(tx, after, until, PAGE)
    happened = [
        Happened(sequence=row.sequence, kind=row.kind, payload={"study": row.study_name, **row.payload}) for row in rows
    ]
    return happened, False, rows[-1].sequence if len(rows) == PAGE else until
