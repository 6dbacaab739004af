"""Routes of uploaded data sets."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response, status
from fastapi.responses import JSONResponse

from service.dependencies import PartsDep
from service.errors import DatasetNotFound, Invalid, NoPreview, TooLarge
from service.files.stored_file import DATASETS
from service.lifecycle.datasets.find_dataset import find_content
from service.lifecycle.datasets.preview_dataset import preview_dataset
from service.lifecycle.datasets.upload_dataset import upload_dataset
from service.lifecycle.upload import Upload
from service.routes.file_response import StoredFileResponse
from service.routes.parameters import Sha256
from service.routes.receive_file import receive_file
from service.routes.responses import created, link, problems
from service.routes.threads import FOR_KEEPING
from spezia.contract.dataset import MEDIA_TYPES, Dataset
from spezia.contract.preview import Preview, PreviewAwaited
from spezia.contract.tasks import Task

router = APIRouter(prefix="/v1/datasets", tags=["data sets"])

RETRY_SECONDS = 1
"""When to ask again for a preview that a worker makes, which takes a second or two where one has nothing to do."""

_BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
_CSV: dict[str, Any] = {
    "schema": {"type": "string", "minLength": 3},
    "example": "text,label\nwhat a film,good\nnever again,bad\n",
}
_BODY = {
    "requestBody": {
        "required": True,
        "content": {"text/csv": _CSV}
        | {MEDIA_TYPES[kind]: _BINARY for kind in ("jsonl", "parquet")}
        | dict.fromkeys(("application/gzip", "application/zip"), _BINARY),
    }
}
_AWAITED: dict[int | str, dict[str, Any]] = {
    202: {
        "description": "A worker has to read the file first; ask again.",
        "model": PreviewAwaited,
        "headers": {"Retry-After": {"description": "Seconds until then.", "schema": {"type": "integer"}}},
    }
}
_SENT: dict[str, Any] = dict.fromkeys(MEDIA_TYPES.values(), _BINARY)


@router.post(
    "",
    status_code=status.HTTP_201_CREATED,
    openapi_extra=_BODY,
    responses=problems(Invalid, TooLarge)
    | created(
        "The data set.", content=link("get_dataset", sha256="sha256"), preview=link("get_preview", sha256="sha256")
    )
    | {200: {"description": "The same data set: it was uploaded before.", "model": Dataset}},
)
async def post_dataset(request: Request, parts: PartsDep, response: Response) -> Dataset:
    """Upload a CSV, JSONL or Parquet file as the body; name it `sha256:…` in a study's `data`.

    The format is read off the content; text that is not UTF-8 is refused. Of a gzip or zip archive of one such file,
    the data set is that file, and the limit of its size holds for what is unpacked. The same content again answers
    200. A data set stays until the operator removes it.
    """
    upload = Upload(parts.files.scratch(DATASETS), parts.max_dataset_bytes, "SPEZIA_MAX_DATASET_BYTES")
    async with receive_file(request, upload):
        dataset, is_new = await FOR_KEEPING.run(upload_dataset, parts.store, parts.files, upload)
    response.status_code = status.HTTP_201_CREATED if is_new else status.HTTP_200_OK
    response.headers["Location"] = f"/v1/datasets/{dataset.sha256}"
    return dataset


@router.get(
    "/{sha256}",
    response_class=Response,
    responses=problems(DatasetNotFound) | {200: {"content": _SENT}, 206: {"description": "A range."}},
)
def get_dataset(sha256: Sha256, parts: PartsDep) -> StoredFileResponse:
    """Download a data set, unpacked if an archive of it was uploaded, or a range of it."""
    dataset, file = find_content(parts.store, parts.files, sha256)
    return StoredFileResponse(parts.files, file, media_type=MEDIA_TYPES[dataset.format])


@router.get("/{sha256}/preview", response_model=Preview, responses=problems(DatasetNotFound, NoPreview) | _AWAITED)
def get_preview(
    sha256: Sha256,
    parts: PartsDep,
    task: Annotated[Task | None, Query(description="Task whose columns are wanted; when absent, any.")] = None,
) -> Preview | JSONResponse:
    """Show the columns and the first rows of a data set, and guess its task and columns.

    The first 64 KiB are looked at. A Parquet file is read by a worker when it is first asked for; until then the answer
    is 202 and says what is waited for. Of a text that is no table there is no preview.
    """
    found = preview_dataset(parts.store, parts.files, sha256, task)
    if isinstance(found, Preview):
        return found
    headers = {"Retry-After": str(RETRY_SECONDS)}
    return JSONResponse(found.model_dump(mode="json"), status.HTTP_202_ACCEPTED, headers)
