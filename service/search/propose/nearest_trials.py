"""Which trials of a study are most like one, by their params."""

from collections.abc import Iterable

import numpy as np
from optuna.trial import FrozenTrial

from service.search.propose.unit_space import UnitSpace
from spezia.contract.study_spec import StudySpec


def nearest_trials(spec: StudySpec, trial: FrozenTrial, others: Iterable[FrozenTrial], n: int) -> list[FrozenTrial]:
    """Return the ``n`` trials among ``others`` whose params are nearest to those of ``trial``, the nearest first.

    The distance is that in the unit cube, logarithmic where the range is; a different choice, or a param that only one
    of the two trials has, counts as the whole range. Of trials that are equally near, the lower number comes first.
    """
    space = UnitSpace(spec, {})
    own_D = space.encode(trial.params)
    distances = []
    for other in others:
        if other.number == trial.number:
            continue
        other_D = space.encode(other.params)
        apart_D = np.abs(own_D - other_D)
        apart_D = np.where(space.is_choice_D, apart_D > 0, apart_D)
        apart_D = np.where(np.isnan(own_D) != np.isnan(other_D), 1.0, np.nan_to_num(apart_D))
        distances.append((float(np.sum(apart_D**2)), other.number, other))
    return [other for _, _, other in sorted(distances, key=lambda one: one[:2])[:n]]
