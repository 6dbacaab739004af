"""The page of the API keys, for admins; they are made and revoked on the command line alone."""

from fastapi import APIRouter, Response

from service.dependencies import StoreDep
from service.lifecycle.keys.list_keys import list_keys
from service.web.frame import PageDep

router = APIRouter()


@router.get("/keys")
def get_page(page: PageDep, store: StoreDep) -> Response:
    """Show whose keys there are, what they may do and when they were last used; never a key itself."""
    return page.render("keys.html", keys=list_keys(store))
