"""The route of a study's server-sent events."""

from collections.abc import AsyncIterator
from typing import Annotated

import anyio
from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Header
from fastapi.sse import EventSourceResponse, ServerSentEvent

from service.dependencies import AdmitAgainDep, PartsDep, StoreDep
from service.errors import Forbidden, StudyNotFound, Unauthorized
from service.lifecycle.studies.follow_events import POLL_SECONDS, Happened, find_followed, follow_events
from service.routes.parameters import StudyName
from service.routes.responses import problems

router = APIRouter(prefix="/v1/studies", tags=["studies"])


def _followed(name: StudyName, store: StoreDep) -> str:
    # before the stream begins, when a problem can still be answered
    return find_followed(store, name)


@router.get("/{name}/events", response_class=EventSourceResponse, responses=problems(StudyNotFound))
async def get_events(
    study_uuid: Annotated[str, Depends(_followed)],
    parts: PartsDep,
    admit_again: AdmitAgainDep,
    last_event_id: Annotated[int, Header(ge=0, lt=2**63, description="The last id seen; absent: from the start.")] = 0,
) -> AsyncIterator[ServerSentEvent]:
    """Follow everything that happens in a study, from its start and then live: `study`, `trial`, `value` and `replay`
    events.

    `data` is JSON: `{state, failure}` of the study, `{number, state, params, value, failure}` of a trial that was
    made, begun, put back or ended, `{number, step, value}` of an intermediate value, `{number, verdict, sentence}` of a
    replay that has ended. Ids grow; a reader that comes
    back with `Last-Event-ID` misses nothing and gets nothing twice. The stream ends when the study has ended and all
    has been sent, so close an `EventSource` at a `study` event of state complete, cancelled or failed; it ends soon
    after its key is revoked or expires, too. A comment keeps an idle connection alive every 15 s. Events are kept as
    long as their study.
    """
    is_over, has_more = False, True
    while not is_over:
        happened: list[Happened] = []
        if has_more or parts.looks.is_due(study_uuid, last_event_id):
            happened, is_over, last = await run_sync(follow_events, parts.store, study_uuid, last_event_id)
            parts.looks.found(study_uuid, last, is_over=is_over)
        for one in happened:
            yield ServerSentEvent(event=one.kind, id=str(one.sequence), data=one.payload)
            last_event_id = one.sequence
        has_more = bool(happened)
        if not has_more and not is_over:
            await anyio.sleep(POLL_SECONDS)
        try:
            await admit_again()
        except (Unauthorized, Forbidden):
            return  # the key was revoked, or has expired
