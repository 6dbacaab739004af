"""Read JSON bodies strictly: in UTF-8, and with no field twice (of which Python would silently take the last)."""

import json
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import HTTPException, Request, Response
from fastapi.routing import APIRoute


class StrictRoute(APIRoute):
    """A route that reads JSON strictly, for ``APIRouter(route_class=StrictRoute)``."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return a handler that hands the request on as one that reads strictly."""
        handle = super().get_route_handler()

        async def strictly(request: Request) -> Response:
            return await handle(_StrictRequest(request.scope, request.receive))

        return strictly


class _StrictRequest(Request):
    async def json(self) -> Any:
        # FastAPI answers JSONDecodeError itself, with the place of the fault
        try:
            return json.loads((await self.body()).decode(), object_pairs_hook=_without_doubles)
        except json.JSONDecodeError:
            raise
        except UnicodeDecodeError:
            raise HTTPException(400, "the body is not UTF-8; send JSON in UTF-8, not compressed") from None
        except (ValueError, RecursionError) as error:
            raise HTTPException(400, f"the body cannot be read: {error}; correct it") from None


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the field {twice[:100]!r} is given twice")
    return fields
