"""Which trials a pruner may compare: those whose learning rate is to decay over as many epochs or more.

A rate that decays over fewer epochs looks better early, so that a short trial would end every longer one. This file
is the only one that knows. To compare only trials of one batch size, for example, `Schedule` would hold the batch size
as well as the epochs, and `is_comparable` would ask for the same one.
"""

from collections.abc import Iterable

from optuna.trial import FrozenTrial

from service.search.space.allowed import n_values, ranges_of
from spezia.contract.space import plain_name
from spezia.contract.study_spec import StudySpec

Schedule = float | None
"""The part of a trial that decides which trials it is compared with: its epochs; ``None`` if they are not searched."""


def schedule_of(trial: FrozenTrial) -> Schedule:
    """Return the schedule of a trial; ``None`` also if a script calls something else ``epochs``."""
    found = trial.params.get("epochs")
    if found is None:
        found = next((value for key, value in trial.params.items() if plain_name(key) == "epochs"), None)
    return found if isinstance(found, int | float) else None


def is_comparable(schedule: Schedule, other: Schedule) -> bool:
    """Return whether trials of the ``other`` schedule may judge a trial of this one."""
    return schedule is None or other is None or other >= schedule


def comparable_trials(trial: FrozenTrial, trials: Iterable[FrozenTrial]) -> Iterable[FrozenTrial]:
    """Return the trials that one may be compared with; looked for when asked for, as most pruners seldom compare."""
    epochs = schedule_of(trial)
    if epochs is None:
        return trials
    if "epochs" in trial.params:  # one range, so all have it by this name; 10,000 trials may pass by
        return (other for other in trials if other.params.get("epochs", epochs) >= epochs)
    return (other for other in trials if is_comparable(epochs, schedule_of(other)))


def n_schedules(spec: StudySpec) -> int:
    """Return how many schedules the trials of a study may have; a continuous range counts as one."""
    return sum(n_values(one) or 1 for one in ranges_of(spec, "epochs"))
