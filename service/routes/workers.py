"""Workers: who they are, and the work they get."""

from time import monotonic
from typing import Annotated

import anyio
from anyio.to_thread import run_sync
from fastapi import APIRouter, Path, Request, status

from service.contract.worker import Dispatch, DispatchRequest, WorkerRegistration, WorkerTerms
from service.dependencies import PartsDep, StoreDep
from service.lifecycle.dispatch import dispatch
from service.lifecycle.register import register

router = APIRouter(prefix="/v1/workers", tags=["for workers"])

POLL_SECONDS = 0.25
"""How often a waiting dispatch looks again: another process may have made the work."""


@router.post("", status_code=status.HTTP_201_CREATED)
def post_worker(registration: WorkerRegistration, store: StoreDep) -> WorkerTerms:
    """Register; a worker does so when it starts, and again when the service does not know it."""
    return register(store, registration)


@router.post("/{worker_id}/dispatch")
async def post_dispatch(
    worker_id: Annotated[str, Path(pattern=r"^[0-9a-f]{32}$")],
    wanted: DispatchRequest,
    parts: PartsDep,
    request: Request,
) -> Dispatch:
    """Wait for work, holding neither a thread nor a connection; the worker's own unfinished work comes first."""
    until = monotonic() + wanted.wait_seconds
    while True:
        assignments = await run_sync(dispatch, parts.store, parts.proposer, worker_id, wanted.slots, wanted.checkpoints)
        left = until - monotonic()
        if assignments or left <= 0 or await request.is_disconnected():
            return Dispatch(assignments=assignments)
        await anyio.sleep(min(POLL_SECONDS, left))
