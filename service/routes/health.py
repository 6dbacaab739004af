"""Routes for probes: whether the service lives, and whether it can work."""

from typing import Literal

from fastapi import APIRouter

from service.dependencies import StoreDep
from service.lifecycle.check_ready import check_ready
from spezia.contract.wire import Reply

router = APIRouter(tags=["health"])


class Health(Reply):
    """Answer of a service that is well; one that is not answers with an error."""

    status: Literal["ok"] = "ok"
    """State of the service; there is no other, as an error is a problem document."""


@router.get("/healthz")
async def get_health() -> Health:
    """Answer 200 as long as the process lives."""
    return Health()


@router.get("/readyz")
def get_readiness(store: StoreDep) -> Health:
    """Answer 200 if the database answers and has the schema that this service needs, else 503."""
    check_ready(store)
    return Health()
