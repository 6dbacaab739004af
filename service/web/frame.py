"""The frame of the pages: how a page is made, and what all pages have in common.

Conventions:

- A page is one file in `service/web/pages/` with a `router`, listed in `service/web/pages_router.py`. Its handlers are
  plain functions that call lifecycle functions as routes do, never HTTP, and return `page.render("NAME.html", …)`.
- Errors are raised as anywhere in the service: `problem_pages.py` makes a page of the problem document, and of a
  missing sign-in a redirect to it.
- Templates extend `base.html`. Everything is escaped, and an undefined name is an error. Scripts and styles are files,
  named by `static("NAME")`: the policy of the pages allows neither inline scripts nor `style` or `on…` attributes. What
  a script is to know stands in `data-…` attributes, or the script asks `/v1`.
- All of `service/web/static/` lies under one hash, so modules import each other by relative paths.
- `static/api.js` sends requests, `static/live.js` tells pages what happens.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import Depends, Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.types import Scope

from service.gate import ANYBODY, Caller
from service.web.filters import FILTERS
from service.web.sparkline import sparkline
from service.web.static_files import static_url
from spezia.contract.key import Scope as ApiScope

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
    " font-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
"""Content security policy of every page: what it is made of comes from this service, and nothing stands inline."""

_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    auto_reload=False,
)
_TEMPLATES.filters |= FILTERS
_TEMPLATES.globals |= {"static": static_url, "sparkline": sparkline, "segment": lambda text: quote(str(text), safe="")}


@dataclass(frozen=True)
class Page:
    """A page that is being made for one request: who looks at it, and where."""

    path: str
    """Path of the request."""
    caller: Caller | None
    """Who looks at it; ``None`` where nobody was asked, as on the page to sign in."""
    csrf_token: str
    """Token that the page's scripts send with what they write; empty where no session is needed."""

    @property
    def is_admin(self) -> bool:
        """Whether the page may lead to what belongs to everybody."""
        return self.caller is not None and ApiScope.ADMIN in self.caller.scopes

    @property
    def sections(self) -> list[tuple[str, str]]:
        """Paths and titles of the pages beside that of studies which this person may open."""
        for_admins = [("/webhooks", "Webhooks"), ("/keys", "Keys")]
        return [("/workers", "Workers"), *(for_admins if self.is_admin else []), ("/docs", "API")]

    @property
    def user(self) -> str | None:
        """Name of whoever has signed in; ``None`` where nobody needs to."""
        return None if self.caller is None or self.caller is ANYBODY else self.caller.name

    def render(self, template: str, status: int = 200, **context: Any) -> HTMLResponse:
        """Make the page of ``template``, a file in `service/web/templates/`."""
        html = _TEMPLATES.get_template(template).render(page=self, **context)
        # with the policy `no-referrer`, forms of our own would come from the origin `null`
        return HTMLResponse(html, status, {"Content-Security-Policy": POLICY, "Referrer-Policy": "same-origin"})


def page_of(scope: Scope) -> Page:
    """Return the page that a request asks for; also of one that was refused before anybody knew whose it is."""
    state = scope.get("state", {})
    return Page(path=scope["path"], caller=state.get("caller"), csrf_token=state.get("csrf_token", ""))


async def _page(request: Request) -> Page:
    return page_of(request.scope)


PageDep = Annotated[Page, Depends(_page)]
