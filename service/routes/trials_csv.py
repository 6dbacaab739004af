"""The route of a study's trials as a CSV table."""

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from service.dependencies import StoreDep
from service.errors import StudyNotFound
from service.lifecycle.trials.export_csv import export_csv
from service.routes.parameters import StudyName
from service.routes.responses import problems

router = APIRouter(prefix="/v1/studies/{name}/trials.csv", tags=["studies"])

_CSV = {"content": {"text/csv": {"schema": {"type": "string"}}}}


@router.get("", response_class=StreamingResponse, responses=problems(StudyNotFound) | {200: _CSV})
def get_trials_csv(name: StudyName, store: StoreDep) -> StreamingResponse:
    """Download all trials as a CSV table, a row each: number, state, value, times, failure and `params.…`.

    Of several objectives it has columns `values.…`, of constraints `violations.…`.
    """
    headers = {"Content-Disposition": f'attachment; filename="{name}.csv"'}
    return StreamingResponse(export_csv(store, name), media_type="text/csv; charset=utf-8", headers=headers)
