"""What a call may answer, for the API's description: declared from the errors themselves."""

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
    """An OpenAPI link: ``parameters`` are taken from the body of this answer."""
    return {
        "operationId": operation,
        "parameters": {name: f"$response.body#/{field}" for name, field in parameters.items()},
    }


_LOCATION = {"description": "Path of what was made.", "schema": {"type": "string"}}
