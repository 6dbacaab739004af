"""How slowly a request's body may come."""

import asyncio

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MIN_BYTES_PER_SECOND = 1024
"""On average; a line of 64 kbit/s carries eight times as much."""

PATIENCE_SECONDS = 30.0
"""For so long a body may stand still."""

_TOO_SLOW = (
    f"the body came at less than {MIN_BYTES_PER_SECOND} bytes a second, or stood still for {PATIENCE_SECONDS:g} s;"
    " send it again"
)


class BodyRateMiddleware:
    """Give up a body that comes too slowly, so that nobody keeps connections and files open at no cost."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        seconds_left = PATIENCE_SECONDS
        is_whole = False
        now = asyncio.get_running_loop().time

        async def receive_in_time() -> Message:
            nonlocal seconds_left, is_whole
            if is_whole:
                return await receive()  # which only tells when the caller hangs up
            began = now()
            try:
                async with asyncio.timeout(seconds_left):
                    message = await receive()
            except TimeoutError:
                # else the server would wait for the rest of the body
                raise HTTPException(408, _TOO_SLOW, {"Connection": "close"}) from None
            # what we took to ask for more is not the sender's fault
            earned = len(message.get("body", b"")) / MIN_BYTES_PER_SECOND
            seconds_left = min(PATIENCE_SECONDS, seconds_left - (now() - began) + earned)
            is_whole = not message.get("more_body", False)
            return message

        await self._app(scope, receive_in_time, send)
