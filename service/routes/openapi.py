"""The description of the API, as `/docs` and `/openapi.json` give it: every error is a problem document."""

import re
from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from service.errors import Forbidden, Invalid, TooManyRequests, Unauthorized, Unavailable
from service.routes.middleware.scopes import needed_scopes
from service.routes.responses import Responses, problems
from spezia.contract.problem import MEDIA_TYPE, Problem

_PROBLEM = {"schema": {"$ref": "#/components/schemas/Problem"}}
_FASTAPIS_OWN = ("HTTPValidationError", "ValidationError")

EVERYWHERE: Responses = problems(Invalid, Unavailable) | {
    400: {"model": Problem, "description": "`malformed`: the request cannot be read, or its Host is not ours."},
    500: {"model": Problem, "description": "`internal`"},
}
"""Errors that any call may answer with."""
GROUPS = [
    {"name": name}
    for name in ("studies", "trials", "presets", "data sets", "models", "webhooks", "for workers", "health")
]
"""Groups of calls, in the order in which `/docs` shows them: what people call comes first."""
_WITH_A_KEY = problems(Unauthorized, Forbidden, TooManyRequests)
"""Errors that any call that needs a key may answer with besides."""
_RETRY_AFTER = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}}
_KEY = {
    "type": "http",
    "scheme": "bearer",
    "bearerFormat": "spz_…",
    "description": "An API key, made by `spezia key create`. A service on loopback needs none until the first is made.",
}


def operation_name(route: APIRoute) -> str:
    """Name operations after their functions, so that generated clients have plain names."""
    return route.name


def describe(app: FastAPI) -> None:
    """Let ``app`` describe its API; the description is made once, when it is first asked for."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(
                title=app.title, version=app.version, summary=app.summary, routes=app.routes, tags=app.openapi_tags
            )
            for method, path, operation in _operations(schema):
                _protect(operation, sorted(needed_scopes(method.upper(), path)))
                _correct(operation)
                operation["summary"] = _summary(operation["description"])
            schema["components"]["securitySchemes"] = {"key": _KEY}
            for name in _FASTAPIS_OWN:
                schema["components"]["schemas"].pop(name, None)
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _operations(schema: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in schema["paths"].items():
        yield from ((method, path, operation) for method, operation in methods.items())


def _protect(operation: dict[str, Any], scopes: list[str]) -> None:
    """Declare that it needs a key with one of ``scopes``; without any, that everybody may call it."""
    operation["security"] = [{"key": [scope]} for scope in scopes]
    if scopes:
        answers = {str(code): {"description": one["description"]} for code, one in _WITH_A_KEY.items()}
        answers["429"]["headers"] = _RETRY_AFTER
        operation["responses"] |= answers


def _summary(description: str) -> str:
    """What a call does, in few words, as lists of calls show it: its first sentence up to a colon or a semicolon."""
    return re.split(r"[.:;](?:\s|$)", " ".join(description.split()), maxsplit=1)[0].replace("`", "")


def _correct(operation: dict[str, Any]) -> None:
    responses = operation["responses"]
    for status, answer in responses.items():
        if status.isdigit() and int(status) >= 400:
            answer["content"] = {MEDIA_TYPE: _PROBLEM}
        if status == "503":
            answer["headers"] = _RETRY_AFTER
        for content in answer.get("content", {}).values():
            if "itemSchema" in content:
                content.pop("schema", None)  # a stream is described by its items, and FastAPI calls it a text besides
    if "requestBody" in operation:
        responses["408"] = {"description": "`too-slow`", "content": {MEDIA_TYPE: _PROBLEM}}
        responses["413"] = {"description": "`too-large`", "content": {MEDIA_TYPE: _PROBLEM}}
    operation["responses"] = dict(sorted(responses.items()))
