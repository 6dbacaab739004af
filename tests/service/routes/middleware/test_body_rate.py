"""How slowly a body may come: on an event loop whose clock jumps to whatever is waited for next."""

import asyncio
from typing import Any

import pytest
from starlette.exceptions import HTTPException

from service.routes.middleware.body_rate import MIN_BYTES_PER_SECOND, PATIENCE_SECONDS, BodyRateMiddleware

RATE = MIN_BYTES_PER_SECOND


class JumpingLoop(asyncio.SelectorEventLoop):
    """Waits for nothing: its time is that of the next thing to do."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0

    def time(self) -> float:
        return self._now

    def _run_once(self) -> None:
        due = [one.when() for one in self._scheduled if not one.cancelled()]  # type: ignore[attr-defined]
        if not self._ready and due:  # type: ignore[attr-defined]
            self._now = max(self._now, min(due))
        super()._run_once()  # type: ignore[misc]


def seconds_and_bytes(pieces: list[tuple[float, int]]) -> tuple[float, int]:
    """Send ``pieces``, each after so many seconds; return when the body was whole, and its length.

    Raises:
        HTTPException: It was given up.
    """

    async def send_all() -> tuple[float, int]:
        coming = iter(pieces)
        n_received = 0

        async def receive() -> dict[str, Any]:
            wait, n_bytes = next(coming)
            await asyncio.sleep(wait)
            return {"type": "http.request", "body": bytes(n_bytes), "more_body": n_bytes > 0}

        async def app(_scope: Any, receive: Any, _send: Any) -> None:
            nonlocal n_received
            while (message := await receive())["more_body"]:
                n_received += len(message["body"])

        async def send(_message: Any) -> None: ...

        await BodyRateMiddleware(app)({"type": "http"}, receive, send)
        return asyncio.get_running_loop().time(), n_received

    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        return runner.run(send_all())


END = (0.0, 0)


def test_a_slow_line_is_slow_and_arrives() -> None:
    pieces = [(1.0, RATE)] * 3600
    assert seconds_and_bytes([*pieces, END]) == (3600, 3600 * RATE)


def test_a_body_may_stand_still_for_a_while() -> None:
    assert seconds_and_bytes([(PATIENCE_SECONDS - 1, 10**6), (PATIENCE_SECONDS - 1, 1), END])[1] == 10**6 + 1


@pytest.mark.parametrize(
    "pieces",
    [
        [(1000.0, 1)],
        [(PATIENCE_SECONDS + 1, 10**6)],
        [(0.0, 10**9), (PATIENCE_SECONDS + 1, 1)],  # what came fast earns no rest without end
        [(1.0, RATE * 9 // 10)] * 1000,
        [(0.5, 1)] * 1000,
    ],
    ids=["nothing", "late", "fast and then nothing", "nine tenths of the rate", "byte by byte"],
)
def test_a_body_that_is_too_slow_is_given_up(pieces: list[tuple[float, int]]) -> None:
    with pytest.raises(HTTPException) as refused:
        seconds_and_bytes([*pieces, END])
    assert (refused.value.status_code, refused.value.headers) == (408, {"Connection": "close"})


def test_whoever_listens_behind_the_body_may_wait_for_ever() -> None:
    async def listen() -> float:
        messages = iter(["http.request", "http.disconnect"])

        async def receive() -> dict[str, Any]:
            kind = next(messages)
            await asyncio.sleep(100 * PATIENCE_SECONDS if kind == "http.disconnect" else 0)
            return {"type": kind}

        async def app(_scope: Any, receive: Any, _send: Any) -> None:
            assert [(await receive())["type"], (await receive())["type"]] == ["http.request", "http.disconnect"]

        async def send(_message: Any) -> None: ...

        await BodyRateMiddleware(app)({"type": "http"}, receive, send)
        return asyncio.get_running_loop().time()

    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        assert runner.run(listen()) == 100 * PATIENCE_SECONDS
