"""Studies, for people and programs."""

import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, BinaryIO

from fastapi import APIRouter, Query, Response, status
from fastapi.responses import StreamingResponse

from service.contract.preset import Validation
from service.contract.study import BestTrial, Study, StudyList, StudySpec, StudyState
from service.dependencies import PartsDep, StoreDep
from service.lifecycle.best import best
from service.lifecycle.cancel import cancel
from service.lifecycle.create_study import create_study
from service.lifecycle.find_model import find_model
from service.lifecycle.pause import pause
from service.lifecycle.resume import resume
from service.lifecycle.show_study import list_studies, show_study
from service.lifecycle.stop import stop
from service.lifecycle.validate_study import validate_study
from service.store.transaction import Store

router = APIRouter(prefix="/v1/studies", tags=["studies"])

Limit = Annotated[int, Query(ge=1, le=1000)]
CHUNK_BYTES = 1 << 20


@router.post("", status_code=status.HTTP_201_CREATED)
def post_study(spec: StudySpec, store: StoreDep, response: Response) -> Study:
    """Create a study and start it. The same name and spec again answers 200 with the study as it is."""
    name, is_new = create_study(store, spec)
    response.status_code = status.HTTP_201_CREATED if is_new else status.HTTP_200_OK
    response.headers["Location"] = f"/v1/studies/{name}"
    return show_study(store, name)


@router.post(":validate")
def post_validate(spec: StudySpec) -> Validation:
    """Check a spec without starting it: defaults and preset filled in, and what to think about again."""
    return validate_study(spec)


@router.get("")
def get_studies(
    store: StoreDep,
    state: StudyState | None = None,
    limit: Limit = 100,
    page_token: str | None = None,
) -> StudyList:
    """List studies by name."""
    return list_studies(store, limit, page_token, state)


@router.get("/{name}")
def get_study(name: str, store: StoreDep) -> Study:
    """State, counts, best so far, progress, facts and spec of one study."""
    return show_study(store, name)


@router.get("/{name}/best")
def get_best(name: str, parts: PartsDep) -> BestTrial:
    """The best COMPLETE trial, beside the baseline, with its evidence."""
    return best(parts.store, parts.artifacts, name)


@router.get("/{name}/best/model", response_class=StreamingResponse)
def get_best_model(name: str, parts: PartsDep) -> StreamingResponse:
    """The fine-tuned model, as a tar of a directory that ``from_pretrained`` opens."""
    directory = find_model(parts.store, parts.artifacts, name)
    headers = {"Content-Disposition": f'attachment; filename="{name}.tar"'}
    return StreamingResponse(_tar(directory, name), media_type="application/x-tar", headers=headers)


@router.post("/{name}/pause", status_code=status.HTTP_202_ACCEPTED)
def post_pause(name: str, store: StoreDep) -> Study:
    """Start no new trials; running ones go on."""
    return _after(pause, store, name)


@router.post("/{name}/resume", status_code=status.HTTP_202_ACCEPTED)
def post_resume(name: str, store: StoreDep) -> Study:
    """Start trials again after a pause."""
    return _after(resume, store, name)


@router.post("/{name}/stop", status_code=status.HTTP_202_ACCEPTED)
def post_stop(name: str, store: StoreDep) -> Study:
    """Start no new trials and end the study when the running ones have ended."""
    return _after(stop, store, name)


@router.post("/{name}/cancel", status_code=status.HTTP_202_ACCEPTED)
def post_cancel(name: str, store: StoreDep) -> Study:
    """End the study now; running trials hear of it within one heartbeat."""
    return _after(cancel, store, name)


def _after(verb: Callable[[Store, str], None], store: Store, name: str) -> Study:
    verb(store, name)
    return show_study(store, name)


def _tar(directory: Path, name: str) -> Iterator[bytes]:
    # opened now: a better model may replace the folder while this one is on its way
    files = [(path, path.open("rb")) for path in sorted(directory.rglob("*")) if _is_whole(path)]

    def stream() -> Iterator[bytes]:
        try:
            for path, file in files:
                yield from _tar_member(f"{name}/{path.relative_to(directory)}", file)
            yield bytes(2 * tarfile.BLOCKSIZE)
        finally:
            for _, file in files:
                file.close()

    return stream()


def _is_whole(path: Path) -> bool:
    """A file, and not one that is being written."""
    return path.is_file() and not path.name.startswith(".")


def _tar_member(archived_name: str, file: BinaryIO) -> Iterator[bytes]:
    member = tarfile.TarInfo(archived_name)
    status = os.fstat(file.fileno())
    member.size, member.mtime = status.st_size, int(status.st_mtime)
    yield member.tobuf(tarfile.PAX_FORMAT)
    while chunk := file.read(CHUNK_BYTES):
        yield chunk
    yield bytes(-member.size % tarfile.BLOCKSIZE)
