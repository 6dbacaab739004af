"""Routes of workers: who they are, and the work they get."""

from time import perf_counter
from typing import Annotated

from fastapi import APIRouter, Path, Request, status

from service.dependencies import AdmitAgainDep, Parts, PartsDep, StoreDep
from service.errors import DatasetNotFound, Invalid, ProtocolTooOld, WorkerUnknown
from service.lifecycle.datasets.accept_head import accept_head
from service.lifecycle.leases.dispatch import Found, dispatch
from service.lifecycle.workers.list_workers import list_workers
from service.lifecycle.workers.register_worker import register_worker
from service.routes import examples
from service.routes.parameters import Limit, PageToken, Sha256
from service.routes.responses import problems
from service.routes.strict_json import WorkerRoute
from service.routes.threads import FOR_DISPATCH, FOR_WORKERS
from service.routes.wait_for_work import wait_for_work
from spezia.contract.parquet_head import HeadOutcome
from spezia.contract.protocol import Dispatch, DispatchRequest, WorkerRegistration, WorkerTerms
from spezia.contract.workers import WorkerList

router = APIRouter(prefix="/v1/workers", tags=["for workers"], route_class=WorkerRoute)

WorkerId = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$", description="Id that the worker has registered.")]


@router.post("", status_code=status.HTTP_201_CREATED, responses=problems(ProtocolTooOld))
async def post_worker(
    registration: Annotated[WorkerRegistration, examples.body(gpu=examples.WORKER)], store: StoreDep
) -> WorkerTerms:
    """Register a worker, which does so when it starts, and again when the service does not know it."""
    return await FOR_WORKERS.run(register_worker, store, registration)


@router.get("", responses=problems(Invalid))
def get_workers(store: StoreDep, limit: Limit = 100, page_token: PageToken = None) -> WorkerList:
    """List the workers that are connected, with device and work; those that were silent for 90 s are left out."""
    return list_workers(store, limit, page_token)


@router.post("/{worker_id}/dispatch", responses=problems(WorkerUnknown))
async def post_dispatch(
    worker_id: WorkerId,
    wanted: Annotated[DispatchRequest, examples.body(one=examples.DISPATCH)],
    parts: PartsDep,
    request: Request,
    admit_again: AdmitAgainDep,
) -> Dispatch:
    """Wait for work, holding neither a thread nor a connection; the worker's own unfinished work comes first."""

    async def look(is_first: bool) -> Found:
        return await FOR_DISPATCH.run(_look, parts, worker_id, wanted, is_first)

    async def is_gone() -> bool:
        if await request.is_disconnected():
            return True
        await admit_again()
        return False

    found = await wait_for_work(look, parts.store.work, wanted.wait_seconds, is_gone)
    return Dispatch(assignments=found.assignments, to_read=found.to_read)


@router.post("/{worker_id}/heads/{sha256}", status_code=status.HTTP_204_NO_CONTENT, responses=problems(DatasetNotFound))
async def post_head(
    worker_id: WorkerId,
    sha256: Sha256,
    outcome: Annotated[HeadOutcome, examples.body(rows=examples.HEAD, problem=examples.NO_HEAD)],
    store: StoreDep,
) -> None:
    """Tell what is at the beginning of an uploaded Parquet file; the first answer stands, and more are harmless."""
    await FOR_WORKERS.run(accept_head, store, sha256, outcome)


def _look(parts: Parts, worker_id: str, wanted: DispatchRequest, is_first: bool) -> Found:
    began = perf_counter()
    found = dispatch(parts.store, parts.proposer, worker_id, wanted.slots, wanted.checkpoints, hands_out_again=is_first)
    if found.assignments:
        parts.store.metrics.call_seconds.labels("dispatch").observe(perf_counter() - began)
    return found
