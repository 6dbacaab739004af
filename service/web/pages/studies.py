"""The page of all studies."""

from typing import Annotated, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Response

from service.dependencies import StoreDep
from service.lifecycle.studies.show_progress import list_progress
from service.routes.parameters import PageToken
from service.web.frame import PageDep
from spezia.contract.study import StudyOrder, StudyState

router = APIRouter()

_PER_PAGE = 25
_TABS: dict[str, str] = {
    "": "All",
    "running": "Running",
    "paused": "Paused",
    "stopping": "Stopping",
    "complete": "Complete",
    "failed": "Failed",
    "cancelled": "Cancelled",
}
_ORDERS: dict[StudyOrder, str] = {
    "-created_at": "Newest first",
    "created_at": "Oldest first",
    "name": "By name",
    "-name": "By name, backwards",
}


@router.get("/")
def get_page(
    page: PageDep,
    store: StoreDep,
    state: StudyState | Literal[""] = "",
    search: Annotated[str, Query(max_length=64)] = "",
    order_by: StudyOrder = "-created_at",
    page_token: PageToken = None,
) -> Response:
    """Show studies with their state and what they have found, the newest first."""
    part = search.strip().lower()
    shown, token = list_progress(store, _PER_PAGE, page_token, [state] if state else (), part, order_by)
    asked = {"state": state, "search": search, "order_by": order_by}
    tabs = [(title, "/?" + urlencode(asked | {"state": one}), one == state) for one, title in _TABS.items()]
    return page.render(
        "studies.html",
        shown=shown,
        asked=asked,
        tabs=tabs,
        orders=_ORDERS,
        is_first=page_token is None,
        first_page="/?" + urlencode(asked),
        next_page=None if token is None else "/?" + urlencode(asked | {"page_token": token}),
    )
