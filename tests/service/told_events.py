"""Server-sent events as they were sent: number, kind and data of each."""

import json
from collections.abc import AsyncIterator
from typing import Any

from service.routes.event_stream import EventStream

Told = tuple[int, str, dict[str, Any]]


def told_in(text: str) -> list[Told]:
    """All events of a text; comments are left out."""
    blocks = (
        dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        for block in text.split("\n\n")
    )
    return [(int(fields["id"]), fields["event"], json.loads(fields["data"])) for fields in blocks if fields]


async def told_by(stream: EventStream) -> AsyncIterator[Told]:
    """The events of an answer, as they come."""
    async for written in stream.body_iterator:
        assert isinstance(written, bytes)
        for told in told_in(written.decode()):
            yield told
