"""The route of a study's learning curves."""

from typing import Annotated

from fastapi import APIRouter, Header, Query, Response, status
from fastapi.responses import StreamingResponse

from service.dependencies import PartsDep
from service.errors import StudyNotFound
from service.lifecycle.studies.show_curves import Wanted, last_sequence, show_curves
from service.routes.parameters import StudyName
from service.routes.responses import problems
from spezia.contract.curves import MAX_LISTED_TRIALS, Curves

router = APIRouter(prefix="/v1/studies/{name}/curves", tags=["studies"])

_Metric = Annotated[
    str | None,
    Query(
        min_length=1,
        max_length=1000,
        # what is no part of a path within JSON, to which the databases give a meaning
        pattern=r'^[^\x00"\\]*$',
        description="Metric of the values, as it was reported; when absent, that of the first objective.",
    ),
]
_After = Annotated[
    int,
    Query(
        ge=0,
        lt=2**63,
        description="The `sequence` of an earlier answer: only trials that something has happened to since are listed.",
    ),
]
_Trials = Annotated[
    str | None,
    Query(
        pattern=rf"^\d{{1,9}}(,\d{{1,9}}){{0,{MAX_LISTED_TRIALS - 1}}}$",
        description=f"Numbers of up to {MAX_LISTED_TRIALS} trials, such as `1,5,9`; when absent, all are listed.",
    ),
]
_Bands = Annotated[bool, Query(description="Whether to answer the quantiles over all trials, too.")]
_ETags = Annotated[
    str | None,
    Header(
        max_length=1000,
        description="The `ETag` of an earlier answer; 304 is answered while nothing has happened since.",
    ),
]


@router.get(
    "",
    response_model=Curves,
    responses=problems(StudyNotFound)
    | {200: {"headers": {"ETag": {"description": "Of these curves.", "schema": {"type": "string"}}}}}
    | {304: {"description": "Nothing has happened in the study since the answer of this `ETag`."}},
)
def get_curves(
    name: StudyName,
    parts: PartsDep,
    metric: _Metric = None,
    after: _After = 0,
    trials: _Trials = None,
    bands: _Bands = False,
    if_none_match: _ETags = None,
) -> Response:
    """Show the learning curves of trials as columns: entry i of each column belongs to the i-th trial that is listed.

    Each trial that is listed is told of whole, in place of what was known of it: a trial that begins anew loses the
    values that it had. To follow a study, pass the `sequence` of each answer as `after` of the next. Where trials are
    too many to be drawn, ask for a few by `trials`, and with `bands` for the quantiles over all of them at each step.
    """
    etag = f'W/"{last_sequence(parts.store, name)}"'
    if if_none_match is not None and etag in (known.strip() for known in if_none_match.split(",")):
        return Response(status_code=status.HTTP_304_NOT_MODIFIED, headers={"ETag": etag})
    numbers = None if trials is None else {int(number) for number in trials.split(",")}
    wanted = Wanted(metric=metric, after=after, numbers=numbers, with_bands=bands)
    pieces = show_curves(parts.store, parts.answers, name, wanted)
    return StreamingResponse(pieces, media_type="application/json", headers={"ETag": etag})
