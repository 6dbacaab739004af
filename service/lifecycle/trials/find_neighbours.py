"""The trials that a trial is worth comparing with: those whose params are most like its own."""

from service.lifecycle.trials.describe_trial import describe_trial
from service.lifecycle.trials.find_trial import find_trial
from service.search.propose.nearest_trials import nearest_trials
from service.search.results.ranking import first_value
from service.store import measurements, studies, trials
from service.store.store import Store
from spezia.contract.trial import Trial

N_NEIGHBOURS = 3


def find_neighbours(store: Store, name: str, number: int) -> list[Trial]:
    """Return the `N_NEIGHBOURS` trials with a value whose params are nearest to those of a trial, the nearest first.

    Raises:
        StudyNotFound, TrialNotFound: There is no such trial.
    """
    with store.reading() as tx:
        study = studies.find(tx, name)
        trial = find_trial(tx, study, number)
        others = [one for one in trials.all_of(tx, study) if first_value(one) is not None]
        nearest = nearest_trials(study.spec, trial, others, N_NEIGHBOURS)
        last = measurements.last_of_study(tx, study.uuid, [one.number for one in nearest])
    return [describe_trial(study, one, last.get(one.number)) for one in nearest]
