"""GET /v1/studies/{name}/trials: a page of them."""

import math
from bisect import bisect_right
from operator import itemgetter
from typing import Literal

from service.contract.trial import TrialList
from service.lifecycle.describe_trial import describe_trial
from service.lifecycle.read_token import Place, read_token
from service.lifecycle.write_token import write_token
from service.search.best import first_value
from service.store import measurements, studies, trials
from service.store.transaction import Store
from service.store.trials import FrozenTrial


def list_trials(
    store: Store,
    name: str,
    limit: int,
    page_token: str | None,
    state: str | None,
    order_by: Literal["number", "value"],
) -> TrialList:
    """One page of trials: those that sort behind the last one of the page before, wherever that one is now.

    By value (of the first objective), the best comes first and trials without one come last.

    Raises:
        StudyNotFound: There is no such study.
        Invalid: ``page_token`` is none of ours, or of another order.
    """
    after = (-math.inf, -1) if page_token is None else read_token(page_token, order_by)
    with store.reading() as tx:
        study = studies.find(tx, name)
        places = _places(trials.all_of(tx, study), state, order_by, study.spec.objectives[0].sign)
        behind = places[bisect_right(places, after, key=itemgetter(0)) :]
        page = [trial for _, trial in behind[:limit]]
        last = measurements.last_of_study(tx, study.uuid, [trial.number for trial in page])
    return TrialList(
        trials=[describe_trial(study, trial, last.get(trial.number)) for trial in page],
        next_page_token=write_token(order_by, behind[limit - 1][0]) if limit < len(behind) else None,
    )


def _places(
    seen: list[FrozenTrial], state: str | None, order_by: Literal["number", "value"], sign: int
) -> list[tuple[Place, FrozenTrial]]:
    """Trials of ``state``, in order, each behind what it is sorted by."""
    chosen = seen if state is None else [trial for trial in seen if trial.state.name == state]
    if order_by == "number":
        return [((0.0, trial.number), trial) for trial in chosen]
    return sorted(
        (((_sortable(trial, sign), trial.number), trial) for trial in chosen),
        key=itemgetter(0),
    )


def _sortable(trial: FrozenTrial, sign: int) -> float:
    value = first_value(trial)
    return math.inf if value is None else sign * value
