"""Every error leaves as a problem document."""

import logging
import math
import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import get_contextvars

from service.errors import Invalid, ServiceError
from service.routes.middleware.request_log import REQUEST_ID
from service.routes.middleware.safe_headers import HEADERS
from spezia.contract.problem import MEDIA_TYPE, Code, FieldProblem, Problem
from spezia.contract.protocol import TOKEN_HEADER
from spezia.contract.wire import ONE, SEVERAL

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 1 << 20
_TOO_LARGE = f"the body is larger than {MAX_BODY_BYTES} bytes; shorten it"
_FILE_UPLOAD = re.compile(r"/v1/leases/[^/]+/artifacts/.+|/v1/datasets")
_CODES = {404: Code.NOT_FOUND, 405: Code.METHOD_NOT_ALLOWED, 413: Code.TOO_LARGE}
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_UNION_TAGS = frozenset({"float", "int", "categorical", ONE, SEVERAL, "prepare", "trial", "score"})
"""Names of union members that pydantic puts into the path of an error, behind a field of free choice."""


def install(app: FastAPI) -> None:
    """Answer every error of ``app`` with a problem document."""
    app.add_exception_handler(ServiceError, _answer_ours)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_exception_handler(HTTPException, _answer_http)
    app.add_exception_handler(Exception, _answer_unexpected)
    app.add_middleware(BodyLimit)


class BodyLimit:
    """Refuse a body over 1 MiB, as FastAPI's own limit does, but with a problem document; files are exempt."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or _FILE_UPLOAD.fullmatch(scope["path"]):
            await self._app(scope, receive, send)
            return
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if announced.isdigit() and int(announced) > MAX_BODY_BYTES:
            await document(413, Code.TOO_LARGE, _TOO_LARGE)(scope, receive, send)
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


async def _answer_ours(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ServiceError)
    return document_of(error)


async def _answer_invalid(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    fields = [_field_problem(one) for one in error.errors()]
    listed = "; ".join(f"{one.field}: {one.message}" for one in fields[:3])
    more = f"; and {len(fields) - 3} more" if len(fields) > 3 else ""
    return document(422, Code.INVALID, f"{listed}{more}", fields)


async def _answer_http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    code = _CODES.get(error.status_code, Code.MALFORMED)
    answer = document(error.status_code, code, str(error.detail))
    answer.headers.update(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        answer.headers["Allow"] = ", ".join(_methods_of_path(request))
    return answer


def _methods_of_path(request: Request) -> list[str]:
    # Starlette names those of one route only, and each method of a path is a route of its own
    routes = request.app.routes
    asked = ((method, dict(request.scope) | {"method": method}) for method in _METHODS)
    return [method for method, scope in asked if any(route.matches(scope)[0] == Match.FULL for route in routes)]


async def _answer_unexpected(_request: Request, error: Exception) -> JSONResponse:
    log.error("the request failed", exc_info=error)
    answer = document(500, Code.INTERNAL, "the service failed at this request; its log tells why, by the request_id")
    # this one leaves outside of all middleware
    answer.headers.update(HEADERS | {REQUEST_ID: get_contextvars()["request_id"]})
    return answer


def document_of(error: ServiceError) -> JSONResponse:
    """Tell one of our errors."""
    answer = document(error.status, error.code, error.detail, error.errors if isinstance(error, Invalid) else None)
    answer.headers.update(error.headers)
    return answer


def document(status: int, code: Code, detail: str, errors: list[FieldProblem] | None = None) -> JSONResponse:
    """Make a problem document; ``detail`` says what to do."""
    problem = Problem(
        type=f"urn:spezia:problem:{code}",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        code=code,
        errors=errors,
        request_id=get_contextvars().get("request_id"),
    )
    return JSONResponse(problem.model_dump(mode="json", exclude_none=True), status, media_type=MEDIA_TYPE)


def _field_problem(error: dict[str, Any]) -> FieldProblem:
    field = _path(error["loc"])
    is_secret = field.rpartition(".")[2].lower() in ("token", TOKEN_HEADER.lower())
    value = None if is_secret else _shown(error.get("input"))
    return FieldProblem(field=field, message=_message(error), value=value)


def _path(location: Sequence[str | int]) -> str:
    parts = list(location[1:]) if location and location[0] in ("body", "query", "path", "header") else list(location)
    # behind search_space and the like the second part is a name of free choice
    is_free = bool(parts) and parts[0] != "objective"
    shown = [part for index, part in enumerate(parts) if (is_free and index == 1) or part not in _UNION_TAGS]
    return ".".join(map(str, shown)) or "body"


def _message(error: dict[str, Any]) -> str:
    message: str = error["msg"]
    return message[0].lower() + message[1:]


def _shown(value: Any) -> Any:
    """The refused value, if JSON can hold it and a person can read it."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return value if len(value) <= 200 and value.isprintable() else None
    return value if isinstance(value, bool | int) and abs(value) < 2**53 else None
