"""Show how much each searched parameter has mattered (GET /v1/studies/{name}/importances)."""

from service.errors import Invalid, TooFewTrials
from service.search.results.importances import Evaluator as Evaluator
from service.search.results.importances import NoImportances, importances
from service.store import studies, trials
from service.store.store import Store
from spezia.contract.importances import Importances
from spezia.contract.problem import FieldProblem
from spezia.contract.study_spec import StudySpec


def show_importances(store: Store, name: str, evaluator: Evaluator, objective: str | None) -> Importances:
    """Say how much each searched param has mattered for an objective, the first one if none is named.

    Raises:
        StudyNotFound: There is no study of this name.
        Invalid: The study has no such objective.
        TooFewTrials: Nothing can be said yet; the reason says what is missing.
    """
    with store.reading() as tx:
        study = studies.find(tx, name)
        seen = trials.all_of(tx, study)
    index = index_of_objective(study.spec, objective)
    try:
        shares = importances(study.spec, seen, evaluator, index)
    except NoImportances as none:
        raise TooFewTrials(f"study {name!r}: {none}") from None
    n_trials = sum(trial.state.name == "COMPLETE" for trial in seen)
    metric = study.spec.objectives[index].metric
    return Importances(study=name, evaluator=evaluator, objective=metric, n_trials=n_trials, importances=shares)


def index_of_objective(spec: StudySpec, metric: str | None) -> int:
    """Return the place of the objective of a metric among those of a study; ``None`` names the first.

    Raises:
        Invalid: The study has no such objective.
    """
    metrics = [one.metric for one in spec.objectives]
    if metric is None:
        return 0
    if metric not in metrics:
        message = f"{metric} is not an objective of this study; it has {', '.join(metrics)}"
        raise Invalid(FieldProblem(field="objective", message=message))
    return metrics.index(metric)
