"""Check whether a request may come in: its key, what the key may do, and how often it is used."""

from functools import partial

from anyio.to_thread import run_sync
from starlette.types import ASGIApp, Receive, Scope, Send

from service.errors import ServiceError, Unauthorized
from service.gate import ANYBODY, Caller, Gate
from service.routes.middleware.same_origin import check_same_origin
from service.routes.middleware.scopes import is_for_workers, needed_scopes
from service.routes.problem_document import problem_of
from service.routes.threads import FOR_WORKERS


class CheckKeysMiddleware:
    """Let a request in if its key may make this call and not too often; note in its state whose studies it may see.

    An answer that takes long asks again by ``admit_again`` of the request's state, which raises once the key is no
    longer good.
    """

    def __init__(self, app: ASGIApp, gate: Gate) -> None:
        self._app = app
        self._gate = gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            try:
                await self._admit(scope)
            except ServiceError as error:
                await problem_of(error)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _admit(self, scope: Scope) -> None:
        method, path = scope["method"], scope["path"]
        viewer = caller = None
        if needed := needed_scopes(method, path):
            for_workers = is_for_workers(method, path)
            caller = await self._identify(scope, for_workers)
            if caller is ANYBODY:
                check_same_origin(scope)
            self._gate.count(caller, "worker" if for_workers else "person")
            caller.check(needed, f"{method} {path}")
            viewer = None if for_workers else caller.viewer
        scope.setdefault("state", {}).update(
            viewer=viewer, caller=caller, admit_again=partial(self._admit_again, scope)
        )

    async def _admit_again(self, scope: Scope) -> None:
        method, path = scope["method"], scope["path"]
        caller = await self._identify(scope, is_for_workers(method, path))
        caller.check(needed_scopes(method, path), f"{method} {path}")

    async def _identify(self, scope: Scope, for_workers: bool) -> Caller:
        scheme, _, credentials = _authorization(scope).partition(" ")
        presented = credentials.strip() if scheme.lower() == "bearer" else ""
        caller = self._gate.remembered(presented)
        if caller is not None:
            return caller
        try:
            if for_workers:
                return await FOR_WORKERS.run(self._gate.look_up, presented)
            return await run_sync(self._gate.look_up, presented)
        except Unauthorized:
            client = scope["client"]
            self._gate.count_stranger(client[0] if client else "")
            raise


def _authorization(scope: Scope) -> str:
    value: bytes = dict(scope["headers"]).get(b"authorization", b"")
    return value.decode("latin-1")
