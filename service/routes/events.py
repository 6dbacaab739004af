"""The routes of server-sent events, of one study and of all."""

from collections.abc import AsyncIterator, Callable
from typing import Annotated

import anyio
from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Header

from service.dependencies import AdmitAgain, AdmitAgainDep, PartsDep, StoreDep
from service.errors import Forbidden, StudyNotFound, Unauthorized
from service.lifecycle.studies.follow_events import (
    POLL_SECONDS,
    Happened,
    SharedLooks,
    find_beginning,
    find_followed,
    follow_all_events,
    follow_events,
)
from service.routes.event_stream import EVENT_STREAM, EventStream, event_stream
from service.routes.parameters import StudyName
from service.routes.responses import Responses, problems

router = APIRouter(prefix="/v1", tags=["studies"])

_Look = Callable[[int], tuple[list[Happened], bool, int]]
"""Looks for events behind a number, as `follow_events` does."""


_ALL = "all"
"""What the readers of all studies share their looks by, whoever they are: no study's identity."""


def _followed(name: StudyName, store: StoreDep) -> str:
    # before the stream begins, when a problem can still be answered
    return find_followed(store, name)


_ANSWERS: Responses = {200: {"content": EVENT_STREAM}}


@router.get("/studies/{name}/events", response_class=EventStream, responses=_ANSWERS | problems(StudyNotFound))
async def get_events(
    study_uuid: Annotated[str, Depends(_followed)],
    parts: PartsDep,
    admit_again: AdmitAgainDep,
    last_event_id: Annotated[int, Header(ge=0, lt=2**63, description="The last id seen; absent: from the start.")] = 0,
) -> EventStream:
    """Follow everything that happens in a study, from its start and then live: `study`, `trial`, `value` and `replay`
    events.

    `data` is JSON: `{state, failure}` of the study, `{number, state, params, value, failure}` of a trial that was
    made, begun, put back or ended, `{number, step, value}` of an intermediate value, `{number, verdict, sentence}` of a
    replay that has ended. Ids grow; a reader that comes
    back with `Last-Event-ID` misses nothing and gets nothing twice. The stream ends when the study has ended and all
    has been sent, so close an `EventSource` at a `study` event of state complete, cancelled or failed; it ends soon
    after its key is revoked or expires, too. A comment keeps an idle connection alive every 15 s. Events are kept as
    long as their study, unless the operator has those of studies that ended long ago removed: then the event `pruned`
    stands for all up to its id.
    """

    def look(after: int) -> tuple[list[Happened], bool, int]:
        return follow_events(parts.store, study_uuid, after)

    return event_stream(_pages(parts.looks, study_uuid, look, last_event_id, admit_again))


def _begin(
    store: StoreDep,
    last_event_id: Annotated[
        int | None, Header(ge=0, lt=2**63, description="The last id seen; absent: from now on.")
    ] = None,
) -> int:
    return find_beginning(store, last_event_id)


@router.get("/events", response_class=EventStream, responses=_ANSWERS)
async def get_all_events(
    begin: Annotated[int, Depends(_begin)], parts: PartsDep, admit_again: AdmitAgainDep
) -> EventStream:
    """Follow everything that happens in all of one's own studies, from now on and live.

    The first event is `ready`: what happens from then on is told, so read the state of things after it. `data` of all
    others is as in the stream of one study, and has the name of the `study` too. A reader that comes back with
    `Last-Event-ID` is told what has happened meanwhile. Of studies that are removed nothing more is told. The stream
    ends soon after its key is revoked or expires. A comment keeps an idle connection alive every 15 s.
    """

    def look(after: int) -> tuple[list[Happened], bool, int]:
        return follow_all_events(parts.store, after)

    async def pages() -> AsyncIterator[list[Happened]]:
        yield [Happened(sequence=begin, kind="ready", payload={})]
        async for page in _pages(parts.looks, _ALL, look, begin, admit_again):
            yield page

    return event_stream(pages())


async def _pages(
    looks: SharedLooks, followed: str, look: _Look, after: int, admit_again: AdmitAgain
) -> AsyncIterator[list[Happened]]:
    """Yield the events behind number ``after`` a page at a time, until all is over or the key is good no more; an empty
    page each time that there are none.

    Args:
        followed: What is followed, by the name under which its readers share their looks.
    """
    is_over, has_more = False, True
    while not is_over:
        happened: list[Happened] = []
        last = after
        if has_more or looks.is_due(followed, after):
            happened, is_over, last = await run_sync(look, after)
            looks.found(followed, last, is_over=is_over)
        yield happened
        after = max(after, last)
        has_more = bool(happened)
        if not has_more and not is_over:
            await anyio.sleep(POLL_SECONDS)
        try:
            await admit_again()
        except (Unauthorized, Forbidden):
            return  # the key was revoked, or has expired
