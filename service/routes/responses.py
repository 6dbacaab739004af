"""Declare in the API's description what a call may answer: errors, `Location`, and links to further calls."""

from typing import Any

from service.errors import ServiceError
from spezia.contract.problem import Problem

Responses = dict[int | str, dict[str, Any]]


def problems(*errors: type[ServiceError]) -> Responses:
    """Declare that a call may answer with these errors."""
    by_status: dict[int, list[str]] = {}
    for error in errors:
        by_status.setdefault(error.status, []).append(f"`{error.code}`")
    return {status: {"model": Problem, "description": ", ".join(codes)} for status, codes in by_status.items()}


def created(what: str, status: int = 201, /, **links: dict[str, Any]) -> Responses:
    """Declare an answer with `Location`, and what can be asked next of the thing that was made."""
    return {status: {"description": what, "headers": {"Location": _LOCATION}, "links": links}}


def link(operation: str, **parameters: str) -> dict[str, Any]:
    """Make an OpenAPI link to ``operation``, whose ``parameters`` are taken from these fields of the answer's body."""
    return {
        "operationId": operation,
        "parameters": {name: f"$response.body#/{field}" for name, field in parameters.items()},
    }


_LOCATION = {"description": "Path of what was made.", "schema": {"type": "string"}}
