"""Limit the size of a request's body."""

import re

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.routes.problem_document import problem_document
from spezia.contract.problem import Code

MAX_BODY_BYTES = 1 << 20
"""Size of the largest body of a call that uploads no file."""
_TOO_LARGE = f"the body is larger than {MAX_BODY_BYTES} bytes; shorten it"
_FILE_UPLOAD = re.compile(r"/v1/leases/[^/]+/(artifacts/.+|checkpoint)|/v1/(datasets|models)")
"""Calls whose bodies are streamed to the disk, each with a limit of its own."""


class BodyLimitMiddleware:
    """Refuse a body over 1 MiB, as FastAPI's own limit does, but with a problem document; files are exempt."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or _FILE_UPLOAD.fullmatch(scope["path"]):
            await self._app(scope, receive, send)
            return
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if announced.isdigit() and int(announced) > MAX_BODY_BYTES:
            await problem_document(413, Code.TOO_LARGE, _TOO_LARGE)(scope, receive, send)
            return
        n_bytes = 0

        async def receive_some() -> Message:
            nonlocal n_bytes
            message = await receive()
            n_bytes += len(message.get("body", b""))
            if n_bytes > MAX_BODY_BYTES:
                raise HTTPException(413, _TOO_LARGE)
            return message

        await self._app(scope, receive_some, send)
