"""Check the Host that a request to a service on loopback names."""

from starlette.types import ASGIApp, Receive, Scope, Send

from service.loopback import is_loopback
from service.routes.problem_document import problem_document
from spezia.contract.problem import Code


class LoopbackHostMiddleware:
    """Refuse a request whose Host is not this machine: a page in a browser may rebind a name to loopback."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not is_loopback(_host_name(scope)):
            detail = "a service on loopback is called by localhost or a loopback address as Host, and by no other name"
            await problem_document(400, Code.MALFORMED, detail)(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def _host_name(scope: Scope) -> str:
    host: str = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
    return host if host.endswith("]") else host.rsplit(":", 1)[0]
