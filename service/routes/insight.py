"""What a study has shown, beyond its best trial."""

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from service.dependencies import StoreDep
from service.errors import Invalid, StudyNotFound, TooFewTrials
from service.lifecycle.studies.show_importances import Evaluator, show_importances
from service.lifecycle.trials.export_csv import export_csv
from service.routes.parameters import StudyName
from service.routes.responses import problems
from spezia.contract.importances import Importances

router = APIRouter(prefix="/v1/studies/{name}", tags=["studies"])

_CSV = {"content": {"text/csv": {"schema": {"type": "string"}}}}


@router.get("/trials.csv", response_class=StreamingResponse, responses=problems(StudyNotFound) | {200: _CSV})
def get_trials_csv(name: StudyName, store: StoreDep) -> StreamingResponse:
    """All trials as a table, a row each: number, state, value, times, failure and `params.…`; of several objectives
    `values.…`, of constraints `violations.…`."""
    headers = {"Content-Disposition": f'attachment; filename="{name}.csv"'}
    return StreamingResponse(export_csv(store, name), media_type="text/csv; charset=utf-8", headers=headers)


@router.get("/importances", responses=problems(StudyNotFound, TooFewTrials, Invalid))
def get_importances(
    name: StudyName,
    store: StoreDep,
    evaluator: Annotated[Evaluator, Query(description="Method that computes the importances.")] = "ped-anova",
    objective: Annotated[
        str | None, Query(description="Metric of one of the study's objectives; when absent, that of the first.")
    ] = None,
) -> Importances:
    """How much each searched parameter has mattered, from the COMPLETE trials.

    `ped-anova` asks which parameters set the best trials apart from the others, `fanova` how much of the variance of
    the value each explains. Both are Optuna's.
    """
    return show_importances(store, name, evaluator, objective)
