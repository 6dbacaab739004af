"""GET /v1/studies/{name}/trials: a page of them."""

import math
from typing import Literal

from service.contract.trial import TrialList
from service.lifecycle.describe_trial import describe_trial
from service.lifecycle.read_token import Place, read_token
from service.lifecycle.write_token import write_token
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

    By value, the best comes first and trials without one come last.

    Raises:
        StudyNotFound: There is no such study.
        Invalid: ``page_token`` is none of ours, or of another order.
    """
    with store.reading() as tx:
        study = studies.find(tx, name)
        sign = 1 if study.spec.direction == "minimize" else -1

        def place(trial: FrozenTrial) -> Place:
            return (_sortable(trial, sign) if order_by == "value" else 0.0, trial.number)

        after = (-math.inf, -1) if page_token is None else read_token(page_token, order_by)
        chosen = [trial for trial in trials.all_of(tx, study) if state in (None, trial.state.name)]
        behind = sorted((trial for trial in chosen if place(trial) > after), key=place)
        page = behind[:limit]
        last = measurements.last_of_study(tx, study.uuid, [trial.number for trial in page])
    return TrialList(
        trials=[describe_trial(study, trial, last.get(trial.number)) for trial in page],
        next_page_token=write_token(order_by, place(page[-1])) if limit < len(behind) else None,
    )


def _sortable(trial: FrozenTrial, sign: int) -> float:
    return math.inf if trial.value is None else sign * trial.value
