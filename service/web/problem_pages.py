"""Pages of errors: what a problem document is to a program, they are to a person with a browser."""

import json
from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.routes.problem_document import unexpected_problem
from service.web.frame import page_of
from spezia.contract.problem import MEDIA_TYPE

SIGN_IN = "/sign-in"
"""Path of the page on which people sign in."""

_KEPT = (b"retry-after", b"allow")
"""Headers of a problem document that its page has too."""


class ProblemPagesMiddleware:
    """Turn the problem documents of page requests into pages, and a missing sign-in into the way there.

    Whoever calls the API, or does not ask for HTML, gets the documents themselves.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _asks_for_page(scope):
            await self._app(scope, receive, send)
            return
        refused: Message | None = None
        body = b""
        is_answered = False

        async def send_page(message: Message) -> None:
            nonlocal refused, body, is_answered
            if message["type"] == "http.response.start":
                if Headers(raw=message["headers"]).get("content-type") == MEDIA_TYPE:
                    refused = message
                    return
            elif refused is not None:
                body += message.get("body", b"")
                if not message.get("more_body"):
                    answer = _answer(scope, refused["status"], body)
                    answer.raw_headers += [one for one in refused["headers"] if one[0].lower() in _KEPT]
                    await answer(scope, receive, send)
                return
            is_answered = True
            await send(message)

        try:
            await self._app(scope, receive, send_page)
        except Exception:
            if not is_answered:
                await _answer(scope, 500, bytes(unexpected_problem().body))(scope, receive, send)
            raise  # so that it is logged as any other


def _asks_for_page(scope: Scope) -> bool:
    accepted: bytes = dict(scope["headers"]).get(b"accept", b"")
    return b"text/html" in accepted and not scope["path"].startswith("/v1/")


def _answer(scope: Scope, status: int, document: bytes) -> Response:
    if status == 401 and scope["path"] != SIGN_IN:
        return RedirectResponse(f"{SIGN_IN}?next={quote(_address(scope), safe='')}", 303)
    return page_of(scope).render("problem.html", status, problem=json.loads(document))


def _address(scope: Scope) -> str:
    query = scope["query_string"].decode("latin-1")
    return quote(scope["path"]) + (f"?{query}" if query else "")
