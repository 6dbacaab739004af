"""Server-sent events, written a page at a time: what is found together goes out together.

FastAPI's own stream makes a model of each event and hands it through two queues and a write of its own: 50 µs and
more, which a thousand workers would have it spend four hundred times a second for every reader.
"""

import json
from collections.abc import AsyncIterator, Callable
from time import monotonic
from typing import Any

from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from starlette.responses import StreamingResponse

from service.lifecycle.studies.follow_events import Happened

KEEPALIVE_SECONDS = 15.0
"""After how many seconds without an event a comment is written, so that proxies keep the connection open."""

EVENT_STREAM: dict[str, Any] = {
    "text/event-stream": {
        "itemSchema": {
            "type": "object",
            "properties": {
                "data": {"type": "string"},
                "event": {"type": "string"},
                "id": {"type": "string"},
                "retry": {"type": "integer", "minimum": 0},
            },
        }
    }
}
"""Content of such an answer, as OpenAPI describes it."""


class EventStream(StreamingResponse):
    """An answer of server-sent events."""

    media_type = "text/event-stream"


def event_stream(pages: AsyncIterator[list[Happened]], timer: Callable[[], float] = monotonic) -> EventStream:
    """Return the answer that tells events as they happen.

    Args:
        pages: Events that were found together; an empty page now and then while nothing happens.
    """
    return EventStream(_written(pages, timer), headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})


async def _written(pages: AsyncIterator[list[Happened]], timer: Callable[[], float]) -> AsyncIterator[bytes]:
    written_at = timer()
    async for page in pages:
        if page:
            yield b"".join(map(_event, page))
        elif timer() - written_at < KEEPALIVE_SECONDS:
            continue
        else:
            yield KEEPALIVE_COMMENT
        written_at = timer()


def _event(one: Happened) -> bytes:
    return format_sse_event(event=one.kind, data_str=json.dumps(one.payload), id=str(one.sequence))
