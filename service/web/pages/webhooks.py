"""The page of the webhooks, for admins."""

from fastapi import APIRouter, Request, Response

from service.dependencies import StoreDep
from service.lifecycle.webhooks.show_webhooks import list_webhooks
from service.routes.parameters import PageToken
from service.web.frame import PageDep

router = APIRouter()

_PER_PAGE = 100


@router.get("/webhooks")
def get_page(page: PageDep, store: StoreDep, request: Request, page_token: PageToken = None) -> Response:
    """Show where what happens is posted to, and how that goes."""
    found = list_webhooks(store, _PER_PAGE, page_token)
    return page.render(
        "webhooks.html",
        webhooks=found.webhooks,
        next_page_token=found.next_page_token,
        origin=str(request.base_url).rstrip("/"),
    )
