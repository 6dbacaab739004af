"""Why trials of a study were pruned lately."""

from service.lifecycle.trials.show_trial import describe_decision
from service.store import decisions, studies
from service.store.store import Store
from spezia.contract.trial import PruneDecision


def list_decisions(store: Store, name: str, limit: int) -> list[tuple[int, PruneDecision]]:
    """Return the last ``limit`` decisions to prune a trial of a study, each behind the trial's number, newest first.

    Raises:
        StudyNotFound: There is no study of this name.
    """
    with store.reading() as tx:
        study = studies.find(tx, name)
        rows = decisions.last_of_study(tx, study.uuid, limit)
    return [(row.number, describe_decision(row)) for row in rows]
