"""Every request has an id, which answer and log carry, and is counted, timed and logged once."""

import logging
import re
import time
from collections.abc import Mapping
from uuid import uuid4

from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars, clear_contextvars

from service.metrics import Metrics
from service.routes.response_headers import REQUEST_ID

log = logging.getLogger("service.requests")

_VALID_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_OTHER = "other"
_FIELDS = {"name": "study", "number": "trial", "worker_id": "worker_id", "lease_id": "lease_id"}
"""Fields of the log by the path parameters that fill them."""


async def bind_path(request: Request) -> None:
    """Let all further log lines of a request name what its path names; a dependency of every route."""
    found = {field: request.path_params[name] for name, field in _FIELDS.items() if name in request.path_params}
    bind_contextvars(**found)


class RequestLogMiddleware:
    """Give each request an id, count it, time it and log it; the outermost layer, which sees refusals of the others."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(dict(scope["headers"]))
        clear_contextvars()
        bind_contextvars(request_id=request_id)
        status: int | None = None

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = [*message.get("headers", ()), (REQUEST_ID.lower().encode(), request_id.encode())]
                message = dict(message) | {"headers": headers}
            await send(message)

        began = time.perf_counter()
        try:
            await self._app(scope, receive, send_with_id)
        except Exception:
            status = status or 500  # which is answered further out
            raise
        finally:
            if status is not None:  # else the connection was cut before there was an answer
                self._note(scope, status, time.perf_counter() - began)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        # what a client may choose is no label: there would be a series for each
        method = scope["method"] if scope["method"] in _METHODS else _OTHER
        route = scope.get("route")
        template: str = getattr(route, "path", _OTHER)
        self._metrics.requests.labels(method, template, status).inc()
        self._metrics.request_seconds.labels(method, template).observe(seconds)
        for_workers = "for workers" in (getattr(route, "tags", None) or ())
        fields = {"method": method, "route": template, "status": status, "duration_seconds": round(seconds, 6)}
        log.log(_level(method, status, for_workers), "%s %s %d", method, template, status, extra=fields)


def _level(method: str, status: int, for_workers: bool) -> int:
    """A healthy service under load writes next to nothing: what is read, and what workers do, is for debugging."""
    if status >= 500:
        return logging.WARNING
    if status < 400 and (for_workers or method in ("GET", "HEAD", "OPTIONS")):
        return logging.DEBUG
    return logging.INFO


def _request_id(headers: Mapping[bytes, bytes]) -> str:
    given = headers.get(REQUEST_ID.lower().encode(), b"").decode("latin-1")
    return given if _VALID_ID.fullmatch(given) else uuid4().hex
