"""The stream of what happens in all studies, as the client reads it."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest
from fastapi.sse import format_sse_event

from spezia.client import Client, NoSpezia, SpeziaError, Unreachable
from spezia.client.read_events import read_events
from spezia.contract.event import Event, EventsPruned, ReplayEnded, StudyChanged, TrialChanged, ValueReported
from spezia.contract.problem import Code
from tests.service.replies import ScriptedService, problem

EVENTS: list[Event] = [
    StudyChanged(state="running"),
    TrialChanged(number=0, state="COMPLETE", params={"learning_rate": 1e-4, "sampler": "a"}, value=0.5, values=[0.5]),
    ValueReported(number=0, step=1, value=0.5),
    ReplayEnded(number=0, verdict="equal", sentence="the numbers\nare equal"),
    EventsPruned(),
]


def told(event_id: int, event: Event) -> bytes:
    payload = event.model_dump(mode="json", exclude={"kind"})
    data = httpx2.Response(200, json={"study": "toy", **payload}).text
    return format_sse_event(event=event.kind, id=str(event_id), data_str=data)


READY = format_sse_event(event="ready", id="6", data_str="{}")
COMMENT = b": keepalive\n\n"


def stream(*pieces: bytes) -> httpx2.Response:
    return httpx2.Response(200, content=b"".join(pieces))


def broken(*pieces: bytes) -> httpx2.Response:
    def content() -> Iterator[bytes]:
        yield from pieces
        raise httpx2.ReadError("reset")

    return httpx2.Response(200, content=content())


def connect(*answers: Any) -> tuple[Client, ScriptedService, list[float]]:
    """A client of a service that gives these answers in turn and then is gone, and what the client has slept."""
    given: Iterator[Any] = iter(answers)

    def answer(request: httpx2.Request) -> httpx2.Response:
        match next(given, None):
            case None:
                raise httpx2.ConnectError("refused")
            case found:
                return found

    slept: list[float] = []
    service = ScriptedService({"GET /v1/events": answer})
    return Client("http://spezia.test", transport=service.transport(), sleep=slept.append), service, slept


def test_every_kind_of_event_comes_as_it_was_told() -> None:
    client, _, _ = connect(stream(READY, COMMENT, *map(told, itertools.count(7), EVENTS)))
    heard = list(itertools.islice(client.events(), len(EVENTS)))
    assert [(one.event_id, one.study) for one in heard] == [(number, "toy") for number in range(7, 12)]
    assert [one.event for one in heard] == EVENTS


@pytest.mark.parametrize("end", [stream, broken])
def test_a_lost_stream_goes_on_behind_the_last_event(end: Callable[..., httpx2.Response]) -> None:
    first, second, third = (told(number, ValueReported(number=0, step=number, value=0.5)) for number in (7, 8, 9))
    client, service, slept = connect(
        end(READY), end(READY, first, second[:-5]), problem(503, Code.UNAVAILABLE, "later"), end(second, third)
    )
    assert [one.event_id for one in itertools.islice(client.events(), 3)] == [7, 8, 9]
    seen = [request.headers.get("Last-Event-ID") for request in service.requests]
    assert seen == [None, "6", "7", "7"]
    assert slept == [1.0, 1.0, 2.0]


def test_who_comes_back_says_where_it_was() -> None:
    client, service, _ = connect(stream(told(8, EVENTS[0])))
    assert next(client.events(after=7)).event_id == 8
    assert service.requests[0].headers["Last-Event-ID"] == "7"


def test_a_service_that_stays_away_is_unreachable_soon_at_first_and_later_after_a_minute() -> None:
    client, _, slept = connect()
    with pytest.raises(Unreachable):
        next(client.events())
    assert sum(slept) < 3
    client, _, slept = connect(stream(READY))
    with pytest.raises(Unreachable, match="refused"):
        next(client.events())
    assert 59 < sum(slept) < 70


def test_a_stream_that_ends_again_and_again_is_given_up() -> None:
    client, _, _ = connect(*[stream()] * 20)
    with pytest.raises(Unreachable, match="ends every stream"):
        next(client.events())


def test_a_key_that_is_good_no_more_is_said() -> None:
    client, _, slept = connect(stream(READY), problem(401, Code.UNAUTHORIZED, "revoked"))
    with pytest.raises(SpeziaError, match="revoked"):
        next(client.events())
    assert slept == [1.0]


def test_what_is_no_stream_of_a_service_is_said() -> None:
    for content in (b"id: one\n\n", b"id: 1\nevent: study\ndata: {]\n\n", b"id: 1\nevent: study\ndata: {}\n\n"):
        with pytest.raises(NoSpezia):
            next(connect(stream(content))[0].events())


def test_kinds_that_are_not_known_yet_are_passed_over() -> None:
    read = list(read_events(["id: 5", "event: birthday", 'data: {"study": "toy"}', ""]))
    assert [(one.event_id, one.happened) for one in read] == [(5, None)]
