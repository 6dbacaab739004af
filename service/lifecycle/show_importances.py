"""GET /v1/studies/{name}/importances."""

from service.contract.importances import Importances
from service.errors import TooFewTrials
from service.search.importances import Evaluator as Evaluator
from service.search.importances import NoImportances, importances
from service.store import studies, trials
from service.store.transaction import Store


def show_importances(store: Store, name: str, evaluator: Evaluator) -> Importances:
    """Say how much each searched param has mattered.

    Raises:
        StudyNotFound: There is none of this name.
        TooFewTrials: Nothing can be said yet; the reason says what is missing.
    """
    with store.reading() as tx:
        study = studies.find(tx, name)
        seen = trials.all_of(tx, study)
    try:
        shares = importances(study.spec, seen, evaluator)
    except NoImportances as none:
        raise TooFewTrials(f"study {name!r}: {none}") from None
    n_trials = sum(trial.state.name == "COMPLETE" for trial in seen)
    return Importances(study=name, evaluator=evaluator, n_trials=n_trials, importances=shares)
