"""The cookie of a session, by which a browser shows that somebody has signed in, and the header beside it.

The cookie is sent by this service's own pages alone (`SameSite=Strict`), and no script reads it (`HttpOnly`).
"""

from http.cookies import CookieError, SimpleCookie

from fastapi import Response
from starlette.types import Scope

from service.lifecycle.keys.sessions import SESSION_TIME

CSRF_HEADER = "X-CSRF-Token"
"""Header that every write by cookie carries; a page of another site neither knows its value nor may set it."""

_NAME = "spezia_session"


def session_token(scope: Scope) -> str:
    """Return the token of the session that a request shows by its cookie; empty if it shows none."""
    for name, value in scope["headers"]:
        if name == b"cookie" and _NAME.encode() in value:
            try:
                morsel = SimpleCookie(value.decode("latin-1")).get(_NAME)
            except CookieError:
                continue
            if morsel is not None:
                return morsel.value
    return ""


def set_session(answer: Response, token: str, *, secure: bool) -> None:
    """Have a browser show this session from now on; where ``secure``, over TLS alone."""
    age = int(SESSION_TIME.total_seconds())
    answer.set_cookie(_NAME, token, max_age=age, secure=secure, httponly=True, samesite="strict")


def unset_session(answer: Response, *, secure: bool) -> None:
    """Have a browser forget its session."""
    answer.delete_cookie(_NAME, secure=secure, httponly=True, samesite="strict")
