"""Exception handlers: every error is answered with a problem document."""

import logging
import math
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Match
from structlog.contextvars import get_contextvars

from service.errors import Invalid, ServiceError
from service.routes.problem_document import problem_document, problem_of, unexpected_problem
from service.routes.response_headers import REQUEST_ID, SAFE_HEADERS
from service.routes.strict_json import BodyInvalid
from spezia.contract.plain_words import plain_errors
from spezia.contract.problem import Code, FieldProblem
from spezia.contract.protocol import TOKEN_HEADER
from spezia.contract.wire import MAX_EXACT, ONE, SEVERAL

log = logging.getLogger(__name__)

_CODES = {404: Code.NOT_FOUND, 405: Code.METHOD_NOT_ALLOWED, 408: Code.TOO_SLOW, 413: Code.TOO_LARGE}
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_MAX_SHOWN = 10_000
"""Characters of a path or a message that are answered: both may quote what was sent."""
_UNION_TAGS = frozenset({"float", "int", "categorical", ONE, SEVERAL, "prepare", "trial", "replay", "score"})
"""Names of union members that pydantic puts into the path of an error, behind a field of free choice."""


def add_exception_handlers(app: FastAPI) -> None:
    """Answer every error of ``app`` with a problem document."""
    app.add_exception_handler(ServiceError, _answer_ours)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_exception_handler(BodyInvalid, _answer_invalid_body)
    app.add_exception_handler(HTTPException, _answer_http)
    app.add_exception_handler(Exception, _answer_unexpected)


async def _answer_ours(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ServiceError)
    return problem_of(error)


async def _answer_invalid(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    return problem_of(Invalid(*_field_problems(error.errors())))


async def _answer_invalid_body(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, BodyInvalid)
    return problem_of(Invalid(*_field_problems(error.errors)))


async def _answer_http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    code = _CODES.get(error.status_code, Code.MALFORMED)
    answer = problem_document(error.status_code, code, _detail(request, error))
    answer.headers.update(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        answer.headers["Allow"] = ", ".join(_methods_of_path(request))
    return answer


def _detail(request: Request, error: HTTPException) -> str:
    if error.status_code == HTTPStatus.NOT_FOUND and error.detail == HTTPStatus.NOT_FOUND.phrase:
        # Starlette's own word where no route has the path: a name with a slash in it, or a wrong address
        return f"there is no call {request.method} {request.url.path[:_MAX_SHOWN]}; /docs lists those that there are"
    return str(error.detail)


def _methods_of_path(request: Request) -> list[str]:
    # Starlette names those of one route only, and each method of a path is a route of its own
    routes = request.app.routes
    asked = ((method, dict(request.scope) | {"method": method}) for method in _METHODS)
    return [method for method, scope in asked if any(route.matches(scope)[0] == Match.FULL for route in routes)]


async def _answer_unexpected(_request: Request, error: Exception) -> JSONResponse:
    log.error("the request failed", exc_info=error)
    answer = unexpected_problem()
    # this one leaves outside of all middleware
    answer.headers.update(SAFE_HEADERS | {REQUEST_ID: get_contextvars()["request_id"]})
    return answer


def _field_problems(errors: Sequence[Any]) -> list[FieldProblem]:
    inside = [error | {"loc": _inside(error["loc"])} for error in errors]
    return [_field_problem(_path(loc), message, value) for loc, message, value in plain_errors(inside)]


def _field_problem(field: str, message: str, value: Any) -> FieldProblem:
    is_secret = field.rpartition(".")[2].lower() in ("token", TOKEN_HEADER.lower())
    shown = None if is_secret else _shown(value)
    return FieldProblem(field=field[:_MAX_SHOWN], message=message[:_MAX_SHOWN], value=shown)


def _inside(location: Sequence[str | int]) -> Sequence[str | int]:
    """Return the path of a field inside of the part of the request that it is in."""
    return location[1:] if location and location[0] in ("body", "query", "path", "header") else location


def _path(parts: Sequence[str | int]) -> str:
    # behind search_space and the like the second part is a name of free choice, behind others one of a union's members
    is_free = bool(parts) and parts[0] not in ("objective", "sampler", "pruner")
    is_named = len(parts) > 2 and parts[0] in ("sampler", "pruner") and parts[1] not in ("name", "options")
    shown = [part for index, part in enumerate(parts) if (is_free and index == 1) or part not in _UNION_TAGS]
    return ".".join(map(str, [*shown[:1], *shown[2:]] if is_named else shown)) or "body"


def _shown(value: Any) -> Any:
    """The refused value, if JSON can hold it and a person can read it."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return value if len(value) <= 200 and value.isprintable() else None
    return value if isinstance(value, bool | int) and abs(value) <= MAX_EXACT else None
