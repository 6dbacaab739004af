"""Is it alive, and can it work?"""

from typing import Literal

from fastapi import APIRouter

from service.dependencies import StoreDep
from service.lifecycle.check_ready import check_ready
from spezia.contract.wire import Reply

router = APIRouter(tags=["health"])


class Health(Reply):
    """The service answers and can work."""

    status: Literal["ok"] = "ok"
    """State of the service; there is no other, as an error is a problem document."""


@router.get("/healthz")
def get_health() -> Health:
    """The process answers."""
    return Health()


@router.get("/readyz")
def get_readiness(store: StoreDep) -> Health:
    """The database answers and has the schema that this service needs; else 503."""
    check_ready(store)
    return Health()
