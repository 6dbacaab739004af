"""Trials, for people and programs."""

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query
from fastapi.responses import FileResponse, PlainTextResponse

from service.contract.trial import ArtifactList, TrialDetail, TrialList, TrialState
from service.contract.worker import FILE_PATTERN
from service.dependencies import PartsDep, StoreDep
from service.lifecycle.list_artifacts import find_artifact, list_artifacts
from service.lifecycle.show_trial import list_trials, read_log, show_trial
from service.routes.studies import Limit

router = APIRouter(prefix="/v1/studies/{name}/trials", tags=["trials"])

Number = Annotated[int, Path(ge=0, lt=2**31)]


@router.get("")
def get_trials(
    name: str,
    store: StoreDep,
    state: TrialState | None = None,
    order_by: Literal["number", "value"] = "number",
    limit: Limit = 100,
    page_token: Annotated[int | None, Query(ge=0)] = None,
) -> TrialList:
    """List trials with params, value, state and last step; by value, the best first."""
    return list_trials(store, name, limit, page_token, state, order_by)


@router.get("/{number}")
def get_trial(name: str, number: Number, store: StoreDep) -> TrialDetail:
    """One trial with every evaluation, why it was pruned or failed, and its attempts."""
    return show_trial(store, name, number)


@router.get("/{number}/log", response_class=PlainTextResponse)
def get_log(name: str, number: Number, store: StoreDep, after: Annotated[int, Query(ge=0)] = 0) -> PlainTextResponse:
    """The trial's log. To follow it, pass the header ``Log-Position`` of the last reply as ``after``."""
    text, position = read_log(store, name, number, after)
    return PlainTextResponse(text, headers={"Log-Position": str(position)})


@router.get("/{number}/artifacts")
def get_artifacts(name: str, number: Number, store: StoreDep) -> ArtifactList:
    """The files of the trial's model; none unless it is among the best that the study keeps."""
    return list_artifacts(store, name, number)


@router.get("/{number}/artifacts/{file:path}", response_class=FileResponse)
def get_artifact(
    name: str, number: Number, file: Annotated[str, Path(pattern=FILE_PATTERN, max_length=100)], parts: PartsDep
) -> FileResponse:
    """One of these files, or the range of it that is asked for."""
    return FileResponse(find_artifact(parts.store, parts.artifacts, name, number, file))
