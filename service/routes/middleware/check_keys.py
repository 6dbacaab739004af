"""Check whether a request may come in: its key, what the key may do, and how often it is used."""

import hmac
from functools import partial

from anyio.to_thread import run_sync
from starlette.types import ASGIApp, Receive, Scope, Send

from service.errors import CrossSite, ServiceError, Unauthorized
from service.gate import ANYBODY, Caller, Gate
from service.lifecycle.keys.sessions import csrf_token
from service.routes.middleware.same_origin import SAFE_METHODS, check_same_origin
from service.routes.middleware.scopes import is_for_workers, needed_scopes
from service.routes.problem_document import problem_of
from service.routes.session_cookie import CSRF_HEADER, session_token
from service.routes.threads import FOR_WORKERS


class CheckKeysMiddleware:
    """Let a request in if its key may make this call and not too often; note in its state whose studies it may see.

    A browser shows the session of a key by a cookie instead, except to the protocol of workers. What it writes must
    come from a page of this service, which its origin and its CSRF token show: browsers send cookies by themselves.

    An answer that takes long asks again by ``admit_again`` of the request's state, which raises once the key is no
    longer good or the session has ended.
    """

    def __init__(self, app: ASGIApp, gate: Gate, public_origin: str | None) -> None:
        """Wrap ``app``.

        Args:
            public_origin: The origin by which browsers reach the service through a proxy.
        """
        self._app = app
        self._gate = gate
        self._public_origin = public_origin

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
        csrf = ""
        if needed := needed_scopes(method, path):
            for_workers = is_for_workers(method, path)
            presented, is_session = _credentials(scope, for_workers)
            caller = await self._identify(scope, presented, is_session, for_workers)
            if caller is ANYBODY:
                check_same_origin(scope, self._public_origin)
            elif is_session:
                csrf = csrf_token(presented)
                self._check_write(scope, csrf)
            self._gate.count(caller, "worker" if for_workers else "person")
            caller.check(needed, f"{method} {path}")
            viewer = None if for_workers else caller.viewer
        admit_again = partial(self._admit_again, scope)
        scope.setdefault("state", {}).update(viewer=viewer, caller=caller, csrf_token=csrf, admit_again=admit_again)

    def _check_write(self, scope: Scope, csrf: str) -> None:
        if scope["method"] in SAFE_METHODS:
            return
        check_same_origin(scope, self._public_origin, must_say=True)
        if not hmac.compare_digest(_header(scope, CSRF_HEADER).encode(), csrf.encode()):
            raise CrossSite(f"this write lacks the token of its page ({CSRF_HEADER}); load the page again")

    async def _admit_again(self, scope: Scope) -> None:
        method, path = scope["method"], scope["path"]
        for_workers = is_for_workers(method, path)
        caller = await self._identify(scope, *_credentials(scope, for_workers), for_workers)
        caller.check(needed_scopes(method, path), f"{method} {path}")

    async def _identify(self, scope: Scope, presented: str, is_session: bool, for_workers: bool) -> Caller:
        caller = self._gate.remembered(presented, is_session=is_session)
        if caller is not None:
            return caller
        look_up = partial(self._gate.look_up, presented, is_session=is_session)
        try:
            return await (FOR_WORKERS.run(look_up) if for_workers else run_sync(look_up))
        except Unauthorized:
            client = scope["client"]
            self._gate.count_stranger(client[0] if client else "")
            raise


def _credentials(scope: Scope, for_workers: bool) -> tuple[str, bool]:
    """Return what a request shows of who sends it, and whether that is the token of a session and no key."""
    authorization = _header(scope, "Authorization")
    if not authorization and not for_workers and (token := session_token(scope)):
        return token, True
    scheme, _, credentials = authorization.partition(" ")
    return (credentials.strip() if scheme.lower() == "bearer" else ""), False


def _header(scope: Scope, name: str) -> str:
    value: bytes = dict(scope["headers"]).get(name.lower().encode(), b"")
    return value.decode("latin-1")
