"""List the trials of a study, page by page (GET /v1/studies/{name}/trials)."""

import math
from bisect import bisect_right
from collections.abc import Collection
from operator import itemgetter

from service.lifecycle.page_token import read_token, write_token
from service.lifecycle.trials.describe_trial import describe_trial
from service.search.results.ranking import first_value
from service.store import measurements, studies, trials
from service.store.store import Store
from service.store.trials import FrozenTrial
from spezia.contract.trial import TrialList, TrialOrder, TrialState

_Place = tuple[float, int]
"""What trials are sorted by."""


def list_trials(
    store: Store,
    name: str,
    limit: int,
    page_token: str | None,
    states: Collection[TrialState],
    order_by: TrialOrder,
) -> TrialList:
    """Return one page of trials: those that sort behind the last one of the page before, wherever that one is now.

    By value (of the first objective), the best comes first and trials without one come last, in both orders.

    Args:
        states: States that are listed; empty: all.

    Raises:
        StudyNotFound: There is no such study.
        Invalid: ``page_token`` was not made here, or is of a list in another order.
    """
    after = (-math.inf, 0) if page_token is None else read_token(page_token, order_by, float)
    with store.reading() as tx:
        study = studies.find(tx, name)
        places = _places(trials.all_of(tx, study), states, order_by, study.spec.objectives[0].sign)
        behind = places[bisect_right(places, after, key=itemgetter(0)) :]
        page = [trial for _, trial in behind[:limit]]
        last = measurements.last_of_study(tx, study.uuid, [trial.number for trial in page])
    return TrialList(
        trials=[describe_trial(study, trial, last.get(trial.number)) for trial in page],
        next_page_token=_token(order_by, behind[limit - 1][0]) if limit < len(behind) else None,
    )


def _places(
    seen: list[FrozenTrial], states: Collection[TrialState], order_by: TrialOrder, better: int
) -> list[tuple[_Place, FrozenTrial]]:
    """Trials of ``states``, in order, each behind what it is sorted by."""
    chosen = [trial for trial in seen if trial.state.name in states] if states else seen
    sign = -1 if order_by.startswith("-") else 1
    if order_by.endswith("number"):
        in_order = [((0.0, sign * trial.number), trial) for trial in chosen]
        return in_order if sign == 1 else in_order[::-1]
    return sorted((((_sortable(trial, sign * better), trial.number), trial) for trial in chosen), key=itemgetter(0))


def _sortable(trial: FrozenTrial, sign: int) -> float:
    value = first_value(trial)
    return math.inf if value is None else sign * value


def _token(order_by: TrialOrder, last: _Place) -> str:
    # repr is exact, and knows infinity, which JSON does not
    return write_token(order_by, repr(last[0]), last[1])
