"""Routes of leases: what a worker may do for a while to the trial that it holds."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Body, Request, Response, status

from service.dependencies import LeaseToken, PartsDep, StoreDep
from service.errors import LeaseLost, ModelNotFound, NoCheckpoint, NoModel, OutcomeRefused, ReportConflict, TooLarge
from service.lifecycle.checkpoints.find_checkpoint import find_checkpoint
from service.lifecycle.checkpoints.upload_checkpoint import begin_checkpoint, upload_checkpoint
from service.lifecycle.leases.heartbeat import heartbeat
from service.lifecycle.leases.release import release
from service.lifecycle.leases.report import report
from service.lifecycle.leases.tell import tell
from service.lifecycle.models.find_files import find_leased_model_file
from service.lifecycle.models.upload_model_file import begin_model_file, upload_model_file
from service.lifecycle.pretrained.find_model import find_leased_file, find_leased_model
from service.lifecycle.trials.trial_log import append_log
from service.routes import examples
from service.routes.file_response import StoredFileResponse
from service.routes.parameters import LeaseId, ModelFile
from service.routes.receive_file import receive_file
from service.routes.responses import problems
from service.routes.strict_json import WorkerRoute
from service.routes.threads import FOR_FILES, FOR_KEEPING, FOR_WORKERS
from spezia.contract.model_files import UploadedModel
from spezia.contract.outcomes import Outcome
from spezia.contract.protocol import HeartbeatReply, HeartbeatRequest, Release, ReportReplies, ReportRequest, Told

router = APIRouter(prefix="/v1/leases", tags=["for workers"], route_class=WorkerRoute)

_FILE = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


@router.post("/heartbeat")
async def post_heartbeat(
    request: Annotated[HeartbeatRequest, examples.body(one=examples.HEARTBEAT)], parts: PartsDep
) -> HeartbeatReply:
    """Renew leases; the reply says for each whether to go on, and which checkpoints of the worker others wait for."""
    with parts.store.metrics.call_seconds.labels("heartbeat").time():
        return await FOR_WORKERS.run(heartbeat, parts.store, request.leases, parts.sent_checkpoint_bytes)


@router.post("/report", responses=problems(ReportConflict, OutcomeRefused))
async def post_report(
    request: Annotated[ReportRequest, examples.body(one=examples.REPORT)], store: StoreDep
) -> ReportReplies:
    """Report evaluations; the reply says for each whether the trial is pruned, or why the evaluation is refused.

    What is refused has no effect, and the others of the request count. Where all are refused, the request is answered
    as the first one would be alone.
    """
    with store.metrics.call_seconds.labels("report").time():
        return ReportReplies(replies=await FOR_WORKERS.run(report, store, request.reports))


@router.post("/{lease_id}/tell", responses=problems(LeaseLost, OutcomeRefused))
async def post_tell(
    lease_id: LeaseId,
    lease_token: LeaseToken,
    outcome: Annotated[Outcome, examples.body(complete=examples.COMPLETE, fail=examples.FAIL, score=examples.SCORE)],
    parts: PartsDep,
) -> Told:
    """Tell the result of an assignment; it is accepted once, and telling it again is harmless."""
    with parts.store.metrics.call_seconds.labels("tell").time():
        accept = partial(tell, parts.store, parts.proposer, parts.files)
        return await FOR_WORKERS.run(accept, lease_id, lease_token, outcome)


@router.post("/{lease_id}/release", status_code=status.HTTP_204_NO_CONTENT, responses=problems(LeaseLost))
async def post_release(
    lease_id: LeaseId,
    lease_token: LeaseToken,
    given_back: Annotated[Release, examples.body(preempted=examples.RELEASE)],
    store: StoreDep,
) -> None:
    """Give an assignment back; the attempt does not count."""
    await FOR_WORKERS.run(release, store, lease_id, lease_token, given_back)


@router.put(
    "/{lease_id}/artifacts/{file:path}",
    status_code=status.HTTP_204_NO_CONTENT,
    openapi_extra=_FILE,
    responses=problems(LeaseLost),
)
async def put_artifact(
    lease_id: LeaseId, file: ModelFile, lease_token: LeaseToken, parts: PartsDep, request: Request
) -> None:
    """Upload one file of a trial's model; it is visible once the trial's result is accepted."""
    begin = partial(begin_model_file, parts.store, parts.files, parts.max_artifact_bytes)
    upload = await FOR_WORKERS.run(begin, lease_id, lease_token)
    async with receive_file(request, upload):
        await FOR_KEEPING.run(upload_model_file, parts.store, parts.files, upload, lease_id, lease_token, file)


@router.put("/{lease_id}/log", status_code=status.HTTP_204_NO_CONTENT, responses=problems(LeaseLost))
async def put_log(
    lease_id: LeaseId,
    lease_token: LeaseToken,
    lines: Annotated[str, Body(media_type="text/plain", min_length=1, examples=["step 1, epoch 1.00: value 0.412\n"])],
    store: StoreDep,
) -> None:
    """Append lines to the log of the trial that a lease is for."""
    await FOR_WORKERS.run(append_log, store, lease_id, lease_token, lines)


@router.get("/{lease_id}/model/{file:path}", response_class=Response, responses=problems(LeaseLost, NoModel))
async def get_model_file(
    lease_id: LeaseId, file: ModelFile, lease_token: LeaseToken, parts: PartsDep
) -> StoredFileResponse:
    """Download one file of the model that a `score` assignment is about."""
    find = partial(find_leased_model_file, parts.store, parts.files)
    return StoredFileResponse(parts.files, await FOR_FILES.run(find, lease_id, lease_token, file))


@router.put(
    "/{lease_id}/checkpoint",
    status_code=status.HTTP_204_NO_CONTENT,
    openapi_extra=_FILE,
    responses=problems(LeaseLost, TooLarge),
)
async def put_checkpoint(lease_id: LeaseId, lease_token: LeaseToken, parts: PartsDep, request: Request) -> None:
    """Upload the checkpoint of a paused trial for which a heartbeat has asked; id and token are those of that reply."""
    limit = parts.sent_checkpoint_bytes
    begin = partial(begin_checkpoint, parts.store, parts.files, limit)
    upload = await FOR_WORKERS.run(begin, lease_id, lease_token)
    async with receive_file(request, upload):
        await FOR_KEEPING.run(upload_checkpoint, parts.store, parts.files, upload, limit, lease_id, lease_token)


@router.get("/{lease_id}/checkpoint", response_class=Response, responses=problems(LeaseLost, NoCheckpoint))
async def get_checkpoint(lease_id: LeaseId, lease_token: LeaseToken, parts: PartsDep) -> StoredFileResponse:
    """Download the checkpoint that a `trial` assignment goes on from, where its `resume` says that it was sent."""
    find = partial(find_checkpoint, parts.store, parts.files)
    return StoredFileResponse(parts.files, await FOR_FILES.run(find, lease_id, lease_token))


@router.get("/{lease_id}/pretrained", responses=problems(LeaseLost, ModelNotFound))
async def get_pretrained(lease_id: LeaseId, lease_token: LeaseToken, store: StoreDep) -> UploadedModel:
    """Describe the uploaded model that the study of a lease fine-tunes, with its files."""
    return await FOR_WORKERS.run(find_leased_model, store, lease_id, lease_token)


@router.get(
    "/{lease_id}/pretrained/{file}",
    response_class=Response,
    responses=problems(LeaseLost, ModelNotFound),
)
async def get_pretrained_file(
    lease_id: LeaseId, file: ModelFile, lease_token: LeaseToken, parts: PartsDep
) -> StoredFileResponse:
    """Download one file of the uploaded model that the study of a lease fine-tunes."""
    find = partial(find_leased_file, parts.store, parts.files)
    return StoredFileResponse(parts.files, await FOR_FILES.run(find, lease_id, lease_token, file))
