"""How events are written: a page at once, and a comment where nothing happens for long."""

from collections.abc import AsyncIterator
from itertools import count

import anyio

from service.lifecycle.studies.follow_events import Happened
from service.routes.event_stream import event_stream


def written(*pages: list[Happened]) -> list[bytes]:
    """What is sent where the clock goes on by 5 s each time that it is looked at."""
    clock = count(0.0, 5.0)

    async def found() -> AsyncIterator[list[Happened]]:
        for page in pages:
            yield page

    async def read() -> list[bytes]:
        return [bytes(one) async for one in event_stream(found(), lambda: next(clock)).body_iterator]

    return anyio.run(read)


def happened(sequence: int) -> Happened:
    return Happened(sequence=sequence, kind="value", payload={"number": 0, "step": sequence, "value": 0.5})


def test_events_that_are_found_together_are_written_together() -> None:
    [page, another] = written([happened(1), happened(2)], [], [happened(3)])
    assert page == (
        b'event: value\ndata: {"number": 0, "step": 1, "value": 0.5}\nid: 1\n\n'
        b'event: value\ndata: {"number": 0, "step": 2, "value": 0.5}\nid: 2\n\n'
    )
    assert another.endswith(b"id: 3\n\n")


def test_a_comment_keeps_a_connection_alive_on_which_nothing_is_told() -> None:
    assert written([], []) == []
    assert written([], [], [], [], [], [], [], []) == [b": ping\n\n"] * 2
    assert written([], [], [happened(1)], [], [])[1:] == [], "an event is as good"
