"""Draw a plot of a study (GET /v1/studies/{name}/plots/{kind})."""

from service.errors import TooFewTrials
from service.lifecycle.revision_cache import RevisionCache
from service.lifecycle.studies.show_importances import index_of_objective
from service.search.plots.draw_plot import NoPlot, draw_plot
from service.store import events, studies, trials
from service.store.store import Store
from spezia.contract.plot import PlotKind


def show_plot(store: Store, cache: RevisionCache, name: str, kind: PlotKind, objective: str | None) -> bytes:
    """Return a plot of a study as the JSON of `Figure`, drawn once for all who ask until something happens.

    Args:
        objective: Metric of the objective that is drawn; ``None``: the first one.

    Raises:
        StudyNotFound: There is no study of this name.
        Invalid: The study has no such objective.
        TooFewTrials: There is nothing to draw; the reason says what is missing.
    """
    with store.reading() as tx:
        study = studies.find(tx, name)
        sequence = events.last(tx, study.uuid)
        seen = trials.all_of(tx, study)
    index = index_of_objective(study.spec, objective)
    question = ("plot", study.uuid, kind, index)
    try:
        return cache.get(question, sequence, lambda: draw_plot(study.spec, seen, kind, index))
    except NoPlot as none:
        raise TooFewTrials(f"study {name!r}: {none}") from None
