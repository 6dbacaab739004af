"""What every request passes before anything reads it: its Host, its key, and how often it comes."""

from anyio.to_thread import run_sync
from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from service.errors import ServiceError, Unauthorized
from service.gate import Caller, Gate
from service.loopback import is_loopback
from service.routes.exception_handlers import document, document_of
from service.routes.middleware.safe_headers import SafeHeaders
from service.routes.middleware.scopes import is_for_workers, needed_scopes
from spezia.contract.problem import Code


def install(app: FastAPI, gate: Gate, *, is_private: bool) -> None:
    """Put the walls around ``app``. On a private service, one on loopback, the Host is checked too."""
    app.add_middleware(KeyWall, gate=gate)
    if is_private:
        app.add_middleware(LoopbackHost)
    app.add_middleware(SafeHeaders)


class LoopbackHost:
    """Refuse a request whose Host is not this machine: a page in a browser may rebind a name to loopback."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not is_loopback(_name_of(_header(scope, b"host"))):
            detail = "a service on loopback is called by localhost or a loopback address as Host, and by no other name"
            await document(400, Code.MALFORMED, detail)(scope, receive, send)
        else:
            await self._app(scope, receive, send)


class KeyWall:
    """Let in who has a key for what is called, and not too often; leave in the request's state whom it lets in."""

    def __init__(self, app: ASGIApp, gate: Gate) -> None:
        self._app = app
        self._gate = gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            try:
                await self._admit(scope)
            except ServiceError as error:
                await document_of(error)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _admit(self, scope: Scope) -> None:
        method, path = scope["method"], scope["path"]
        needed = needed_scopes(method, path)
        viewer = None
        if needed:
            caller = await self._identify(scope)
            self._gate.count(caller, "worker" if is_for_workers(method, path) else "person")
            caller.check(needed, f"{method} {path}")
            viewer = None if is_for_workers(method, path) else caller.viewer
        scope.setdefault("state", {})["viewer"] = viewer

    async def _identify(self, scope: Scope) -> Caller:
        scheme, _, credentials = _header(scope, b"authorization").partition(" ")
        presented = credentials.strip() if scheme.lower() == "bearer" else ""
        caller = self._gate.remembered(presented)
        if caller is not None:
            return caller
        try:
            return await run_sync(self._gate.look_up, presented)
        except Unauthorized:
            client = scope["client"]
            self._gate.count_stranger(client[0] if client else "")
            raise


def _header(scope: Scope, name: bytes) -> str:
    value: bytes = dict(scope["headers"]).get(name, b"")
    return value.decode("latin-1")


def _name_of(host: str) -> str:
    return host if host.endswith("]") else host.rsplit(":", 1)[0]
