"""Answer HEAD wherever GET is answered, by the same route, without the body."""

import anyio
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class AnswerHeadMiddleware:
    """Make a GET of each HEAD, and end it at its headers: a body may be large, and a stream of events has no end."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        get = dict(scope) | {"method": "GET"}
        with anyio.CancelScope() as answering:

            async def send_head(message: Message) -> None:
                if message["type"] == "http.response.start":
                    await send(message)
                    await send({"type": "http.response.body"})
                    answering.cancel()

            await self._app(get, receive, send_head)
        if "route" in get:
            scope["route"] = get["route"]  # which the log of requests names
