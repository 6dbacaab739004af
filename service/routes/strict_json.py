"""Read JSON bodies strictly, within bounds, and in threads.

Strictly: in UTF-8, and with no field twice (of which Python would silently take the last). In threads, because FastAPI
would read and check a body on the event loop, and what takes 200 ms there holds up every other call for as long. Few of
them, because threads that compute take turns, and the event loop waits for its own.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any, get_type_hints

from fastapi import HTTPException, Request, Response
from fastapi.routing import APIRoute
from pydantic import TypeAdapter, ValidationError

from service.routes.threads import FOR_BODIES, FOR_WORKERS
from spezia.contract.study_spec import POSTED
from spezia.contract.wire import MAX_ERRORS

MAX_CONTAINERS = 100_000
"""Largest number of objects and lists in a body, which take 50 ms to make; half a million of them fit into 1 MiB."""

MAX_FIELDS = 1_000
"""Largest number of fields of an object in a body."""

_TEXT = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)


class BodyInvalid(HTTPException):
    """A JSON body that the contract refuses; ``errors`` are pydantic's, each with its path from ``body`` on."""

    def __init__(self, errors: list[dict[str, Any]]) -> None:
        super().__init__(422)
        self.errors = errors


class StrictRoute(APIRoute):
    """A route that reads JSON strictly, for ``APIRouter(route_class=StrictRoute)``.

    FastAPI is handed a body that has been checked; the type of the parameter must let that pass, as `CheckedSpec` does.
    """

    threads = FOR_BODIES
    small = 0
    """Length in bytes up to which a body is read on the event loop, as that takes less than to hand it to a thread."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return a handler that hands the request on as one that reads strictly."""
        handle = super().get_route_handler()
        if self.body_field is None:
            return handle
        declared = get_type_hints(self.endpoint, include_extras=True)[self.body_field.name]
        adapter: TypeAdapter[Any] = TypeAdapter(declared)

        class StrictRequest(Request):
            async def json(request) -> Any:
                body = await request.body()
                if len(body) <= self.small:
                    return _read(adapter, body)
                return await self.threads.run(_read, adapter, body)

        async def strictly(request: Request) -> Response:
            return await handle(StrictRequest(request.scope, request.receive))

        return strictly


class WorkerRoute(StrictRoute):
    """A strict route that only workers call: bodies of more than a few reports are read in threads of their own."""

    threads = FOR_WORKERS
    small = 4096


def _read(adapter: TypeAdapter[Any], body: bytes) -> Any:
    try:
        return adapter.validate_python(_parse(body), context=POSTED, from_attributes=True)
    except ValidationError as refused:
        errors = refused.errors(include_url=False)[:MAX_ERRORS]
        # past FastAPI, which would check it again
        raise BodyInvalid([{**one, "loc": ("body", *one["loc"])} for one in errors]) from None


def _parse(body: bytes) -> Any:
    # FastAPI answers JSONDecodeError itself, with the place of the fault
    try:
        _check_containers(body)
        return json.loads(body.decode(), object_pairs_hook=_without_doubles)
    except json.JSONDecodeError:
        raise
    except UnicodeDecodeError:
        raise HTTPException(400, "the body is not UTF-8; send JSON in UTF-8, not compressed") from None
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, f"the body cannot be read: {error}; correct it") from None


def _check_containers(body: bytes) -> None:
    if _n_brackets(body) > MAX_CONTAINERS and _n_brackets(_TEXT.sub(b"", body)) > MAX_CONTAINERS:
        raise ValueError(f"it has more than {MAX_CONTAINERS} objects and lists")


def _n_brackets(text: bytes) -> int:
    return text.count(b"[") + text.count(b"{")


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > MAX_FIELDS:
        raise ValueError(f"an object has more than {MAX_FIELDS} fields")
    fields = dict(pairs)
    if len(fields) < len(pairs):
        twice = next(name for name, n in Counter(name for name, _ in pairs).items() if n > 1)
        raise ValueError(f"the field {twice[:100]!r} is given twice")
    return fields
