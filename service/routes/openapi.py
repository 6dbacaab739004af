"""The description of the API, as `/docs` and `/openapi.json` give it: every error is a problem document."""

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from service.contract.problem import MEDIA_TYPE, Problem
from service.errors import Invalid, Unavailable
from service.routes.responses import Responses, problems

_PROBLEM = {"schema": {"$ref": "#/components/schemas/Problem"}}
_FASTAPIS_OWN = ("HTTPValidationError", "ValidationError")

EVERYWHERE: Responses = problems(Invalid, Unavailable) | {
    400: {"model": Problem, "description": "`malformed`: the request cannot be read, or its Host is not ours."},
    500: {"model": Problem, "description": "`internal`"},
}
"""What any call may answer."""


def operation_name(route: APIRoute) -> str:
    """Name operations after their functions, so that generated clients have plain names."""
    return route.name


def describe(app: FastAPI) -> None:
    """Let ``app`` describe itself; made once, when first asked for."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(
                title=app.title, version=app.version, summary=app.summary, routes=app.routes, tags=app.openapi_tags
            )
            for operation in _operations(schema):
                _correct(operation)
            for name in _FASTAPIS_OWN:
                schema["components"]["schemas"].pop(name, None)
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _operations(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for path in schema["paths"].values():
        yield from path.values()


def _correct(operation: dict[str, Any]) -> None:
    responses = operation["responses"]
    for status, answer in responses.items():
        if status.isdigit() and int(status) >= 400:
            answer["content"] = {MEDIA_TYPE: _PROBLEM}
    if "requestBody" in operation:
        responses["413"] = {"description": "`too-large`", "content": {MEDIA_TYPE: _PROBLEM}}
    operation["responses"] = dict(sorted(responses.items()))
