"""The page of the workers that are connected."""

from fastapi import APIRouter, Response

from service.dependencies import StoreDep
from service.lifecycle.workers.list_workers import list_workers
from service.routes.parameters import PageToken
from service.web.frame import PageDep

router = APIRouter()

_PER_PAGE = 100
_KINDS = {
    "prepare": "prepares",
    "probe": "measures",
    "small": "small run of",
    "trial": "trial",
    "replay": "replays",
    "confirm": "confirms",
    "score": "scores",
}
"""What a worker does, by the kind of its assignment."""


@router.get("/workers")
def get_page(page: PageDep, store: StoreDep, page_token: PageToken = None) -> Response:
    """Show each worker's device, what it does and when it was last heard of."""
    found = list_workers(store, _PER_PAGE, page_token)
    return page.render("workers.html", workers=found.workers, kinds=_KINDS, next_page_token=found.next_page_token)
