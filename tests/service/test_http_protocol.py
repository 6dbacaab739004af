"""Connections of callers who take their time, on a loop whose clock a test moves."""

import asyncio
import heapq
from collections.abc import Callable
from typing import Any, cast

import pytest
import uvicorn
from uvicorn.server import ServerState

from service.http_protocol import HEAD_SECONDS, IDLE_SECONDS, PatientProtocol
from service.lease_and_heartbeat_terms import HEARTBEAT_SECONDS
from trainer.supervisor.client import KEPT_SECONDS

HEAD = b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 4\r\n\r\n"


class Loop:
    """What a protocol asks of an event loop; tasks run when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0
        self.tasks: list[asyncio.Task[None]] = []
        self._calls: list[tuple[float, int, asyncio.TimerHandle]] = []

    def call_later(self, seconds: float, act: Callable[..., Any], *args: Any) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(self.now + seconds, act, args, asyncio.get_running_loop())
        heapq.heappush(self._calls, (self.now + seconds, len(self._calls), handle))
        return handle

    def create_task(self, work: Any, **_: Any) -> "asyncio.Task[None]":
        self.tasks.append(asyncio.get_running_loop().create_task(work))
        return self.tasks[-1]

    def advance(self, seconds: float) -> None:
        self.now += seconds
        while self._calls and self._calls[0][0] <= self.now:
            handle = heapq.heappop(self._calls)[2]
            if not handle.cancelled():
                handle._run()


class Wire:
    """The transport of one connection."""

    def __init__(self) -> None:
        self.is_closed = False
        self.sent = b""

    def get_extra_info(self, name: str) -> object:
        return None

    def write(self, data: bytes) -> None:
        self.sent += data

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        self.is_closed = True

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


async def answer_after_the_body(_scope: Any, receive: Any, send: Any) -> None:
    while (await receive()).get("more_body"):
        pass
    await answer_at_once(_scope, receive, send)


async def answer_at_once(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body"})


class Connection:
    def __init__(self, app: Any = answer_after_the_body) -> None:
        config = uvicorn.Config(app, lifespan="off", log_config=None)
        config.load()
        self.loop, self.wire = Loop(), Wire()
        self._protocol = PatientProtocol(config, ServerState(), {}, cast(asyncio.AbstractEventLoop, self.loop))
        self._protocol.connection_made(cast(asyncio.Transport, self.wire))

    async def say(self, data: bytes) -> None:
        self._protocol.data_received(data)
        for _ in range(5):
            await asyncio.sleep(0)  # what was said is worked on

    def is_open_after(self, seconds: float) -> bool:
        self.loop.advance(seconds)
        return not self.wire.is_closed

    async def hang_up(self) -> None:
        self._protocol.connection_lost(None)
        await asyncio.gather(*self.loop.tasks)


def test_a_connection_without_a_request_is_closed() -> None:
    async def story() -> None:
        connection = Connection()
        assert connection.is_open_after(HEAD_SECONDS - 1)
        assert not connection.is_open_after(1)

    asyncio.run(story())


def test_a_head_that_comes_byte_by_byte_is_not_waited_for() -> None:
    async def story() -> None:
        connection = Connection()
        for byte in HEAD[: int(HEAD_SECONDS) - 1]:
            await connection.say(bytes([byte]))
            assert connection.is_open_after(1)
        assert not connection.is_open_after(1)

    asyncio.run(story())


def test_the_next_head_of_a_connection_has_as_much_time() -> None:
    async def story() -> None:
        connection = Connection()
        connection.loop.advance(HEAD_SECONDS - 1)
        await connection.say(HEAD + b"body")
        assert b"204" in connection.wire.sent
        await connection.say(HEAD[:5])
        assert connection.is_open_after(HEAD_SECONDS - 1)
        assert not connection.is_open_after(1)

    asyncio.run(story())


def test_a_connection_may_be_idle_between_two_requests_for_longer_than_a_worker_keeps_it() -> None:
    async def story() -> None:
        connection = Connection()
        await connection.say(HEAD + b"body")
        assert connection.is_open_after(IDLE_SECONDS - 1)
        assert not connection.is_open_after(1)

    asyncio.run(story())
    assert IDLE_SECONDS > KEPT_SECONDS > HEARTBEAT_SECONDS


def test_a_body_and_its_answer_may_take_longer() -> None:
    async def story() -> None:
        connection = Connection()
        await connection.say(HEAD + b"bo")
        assert connection.is_open_after(10 * HEAD_SECONDS)
        await connection.say(b"dy")
        assert b"204" in connection.wire.sent
        await connection.hang_up()

    asyncio.run(story())


@pytest.mark.parametrize("is_moving", [True, False])
def test_a_body_that_is_answered_early_may_come_to_its_end_if_it_moves(is_moving: bool) -> None:
    async def story() -> None:
        connection = Connection(answer_at_once)
        await connection.say(HEAD.replace(b"4", b"1000"))
        connection.loop.advance(4.0)  # uvicorn's own patience begins with the answer
        await connection.say(b"x")
        for _ in range(100 if is_moving else 0):
            assert connection.is_open_after(HEAD_SECONDS - 1)
            await connection.say(b"x")
        assert connection.is_open_after(HEAD_SECONDS - 1)
        assert not connection.is_open_after(1)
        await connection.hang_up()

    asyncio.run(story())
