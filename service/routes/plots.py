"""The route of a study's plots."""

from typing import Annotated

from fastapi import APIRouter, Path, Response

from service.dependencies import PartsDep
from service.errors import Invalid, StudyNotFound, TooFewTrials
from service.lifecycle.studies.show_plot import show_plot
from service.routes.parameters import ObjectiveMetric, StudyName
from service.routes.responses import problems
from service.routes.threads import FOR_PLOTS
from spezia.contract.plot import Figure, PlotKind

router = APIRouter(prefix="/v1/studies/{name}/plots", tags=["studies"])


@router.get("/{kind}", response_model=Figure, responses=problems(StudyNotFound, TooFewTrials, Invalid))
async def get_plot(
    name: StudyName,
    kind: Annotated[PlotKind, Path(description="What the plot shows.")],
    parts: PartsDep,
    objective: ObjectiveMetric = None,
) -> Response:
    """Draw a plot of a study, as a figure of Plotly's: `Plotly.newPlot(element, figure.data, figure.layout)`.

    They are Optuna's plots, of its COMPLETE trials; `timeline` shows all that have begun. Of more than 2,000 trials
    (300 of parallel coordinates) a plot other than the history shows the best and others that are evenly spread, the
    timeline the last ones; its title then says so. Names that users have chosen are escaped for Plotly.
    """
    figure = await FOR_PLOTS.run(show_plot, parts.store, parts.answers, name, kind, objective)
    return Response(figure, media_type="application/json")
