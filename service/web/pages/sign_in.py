"""Signing in to the pages with an API key, and out again."""

from typing import Annotated
from urllib.parse import parse_qs

from anyio.to_thread import run_sync
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse

from service.errors import TooLarge, Unauthorized
from service.gate import Gate
from service.lifecycle.keys.sessions import begin_session, end_session
from service.routes.middleware.same_origin import check_same_origin
from service.routes.session_cookie import session_token, set_session, unset_session
from service.settings import Settings
from service.store.store import Store
from service.web.frame import Page, PageDep
from service.web.problem_pages import SIGN_IN
from spezia.contract.key import Scope

router = APIRouter()

_MAX_BODY_BYTES = 8192
_FOR_WORKERS = "this key is for workers, which need no pages; sign in with one of the scope read, write or admin"


@router.get(SIGN_IN)
def get_page(page: PageDep, request: Request, next_path: Annotated[str, Query(alias="next")] = "/") -> Response:
    """Ask for a key, unless whoever is here has signed in already or needs none."""
    gate: Gate = request.app.state.gate
    token = session_token(request.scope)
    try:
        gate.look_up(token, is_session=bool(token))
    except Unauthorized:
        return _ask(page, next_path)
    return RedirectResponse(safe_next(next_path), 303)


@router.post(SIGN_IN)
async def post_sign_in(page: PageDep, request: Request) -> Response:
    """Begin a session with the key of the form; attempts are counted as wrong keys are."""
    settings: Settings = request.app.state.settings
    check_same_origin(request.scope, settings.public_origin)
    body = await request.body()
    if len(body) > _MAX_BODY_BYTES:
        raise TooLarge("a form to sign in is never so long; send a key")
    fields = parse_qs(body.decode("latin-1"))
    key, next_path = (fields.get(name, [""])[0].strip() for name in ("key", "next"))
    gate: Gate = request.app.state.gate
    try:
        caller = await run_sync(gate.look_up, key)
    except Unauthorized as error:
        gate.count_stranger(request.client.host if request.client else "")
        reason = error.detail if key else "an API key is needed: spz_…"
        return _ask(page, next_path, reason, 401)
    gate.count(caller, "person")
    if caller.key_id == "":
        return RedirectResponse(safe_next(next_path), 303)
    if Scope.READ not in caller.scopes:
        return _ask(page, next_path, _FOR_WORKERS, 403)
    store: Store = request.app.state.parts.store
    token = await run_sync(begin_session, store, key)
    answer = RedirectResponse(safe_next(next_path), 303)
    set_session(answer, token, secure=settings.is_behind_tls)
    return answer


@router.post("/sign-out")
def post_sign_out(request: Request) -> Response:
    """End the session by which this request came, if it came by one."""
    token = session_token(request.scope)
    end_session(request.app.state.parts.store, token)
    request.app.state.gate.forget_session(token)
    answer = Response(status_code=204)
    unset_session(answer, secure=request.app.state.settings.is_behind_tls)
    return answer


def safe_next(path: str) -> str:
    """Return where to go after signing in: a path of this service, or the first page for everything else.

    Browsers read a backslash as a slash, leave out tabs and line ends, and take `//host` for another host.
    """
    is_ours = path.startswith("/") and path[1:2] not in ("/", "\\") and path.isprintable() and path.isascii()
    return path if is_ours else "/"


def _ask(page: Page, next_path: str, reason: str = "", status: int = 200) -> Response:
    return page.render("sign_in.html", status, next=safe_next(next_path), reason=reason)
