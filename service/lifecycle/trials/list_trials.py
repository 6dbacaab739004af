"""List the trials of a study, page by page (GET /v1/studies/{name}/trials)."""

import math
from bisect import bisect_right
from collections.abc import Callable, Collection
from operator import itemgetter

from service.errors import Invalid
from service.lifecycle.page_token import read_token, write_token
from service.lifecycle.trials.describe_trial import describe_trial
from service.search.results.ranking import first_value
from service.store import measurements, studies, trials
from service.store.store import Store
from service.store.trials import FrozenTrial
from spezia.contract.problem import FieldProblem
from spezia.contract.study_spec import StudySpec
from spezia.contract.trial import TrialList, TrialOrder, TrialState

_Place = tuple[float, int]
"""What trials are sorted by."""

_PARAMS = "params."
"""Beginning of the orders by a parameter."""


def list_trials(
    store: Store,
    name: str,
    limit: int,
    page_token: str | None,
    states: Collection[TrialState],
    order_by: TrialOrder,
) -> TrialList:
    """Return one page of trials: those that sort behind the last one of the page before, wherever that one is now.

    By value (of the first objective), the best comes first; by state trials come in Optuna's order. Those without what
    is sorted by come last, both ways.

    Args:
        states: States that are listed; empty: all.

    Raises:
        StudyNotFound: There is no such study.
        Invalid: ``page_token`` was not made here, or is of a list in another order; or the study searches no such
            parameter.
    """
    after = (-math.inf, 0) if page_token is None else read_token(page_token, order_by, float)
    with store.reading() as tx:
        study = studies.find(tx, name)
        places = _places(trials.all_of(tx, study), states, order_by, study.spec)
        behind = places[bisect_right(places, after, key=itemgetter(0)) :]
        page = [trial for _, trial in behind[:limit]]
        last = measurements.last_of_study(tx, study.uuid, [trial.number for trial in page])
    return TrialList(
        trials=[describe_trial(study, trial, last.get(trial.number)) for trial in page],
        next_page_token=_token(order_by, behind[limit - 1][0]) if limit < len(behind) else None,
    )


def _places(
    seen: list[FrozenTrial], states: Collection[TrialState], order_by: TrialOrder, spec: StudySpec
) -> list[tuple[_Place, FrozenTrial]]:
    """Trials of ``states``, in order, each behind what it is sorted by."""
    chosen = [trial for trial in seen if trial.state.name in states] if states else seen
    sign = -1 if order_by.startswith("-") else 1
    by = order_by.removeprefix("-")
    if by == "number":
        in_order = [((0.0, sign * trial.number), trial) for trial in chosen]
        return in_order if sign == 1 else in_order[::-1]
    key = _key(by, spec)
    return sorted((((_sortable(key(trial), sign), trial.number), trial) for trial in chosen), key=itemgetter(0))


def _key(by: str, spec: StudySpec) -> Callable[[FrozenTrial], float | None]:
    if by == "state":
        return lambda trial: trial.state.value
    if by == "started_at":
        return _started_at
    if by == "duration":
        return _duration
    if by == "value":
        better = spec.objectives[0].sign
        return lambda trial: None if (value := first_value(trial)) is None else better * value
    param = by.removeprefix(_PARAMS)
    if param not in spec.search_space:
        searched = ", ".join(spec.search_space) or "none"
        message = f"the study searches no parameter {param!r}; it searches {searched}"
        raise Invalid(FieldProblem(field="order_by", message=message))
    return lambda trial: _param(trial, param)


def _started_at(trial: FrozenTrial) -> float | None:
    return None if trial.datetime_start is None else trial.datetime_start.timestamp()


def _duration(trial: FrozenTrial) -> float | None:
    return None if trial.duration is None else trial.duration.total_seconds()


def _param(trial: FrozenTrial, name: str) -> float | None:
    """A number as it is; a name as its place among the choices of its range."""
    value = trial.params.get(name)
    if value is None or isinstance(value, int | float):
        return value
    return float(trial.distributions[name].to_internal_repr(value))


def _sortable(key: float | None, sign: int) -> float:
    return math.inf if key is None else sign * key


def _token(order_by: TrialOrder, last: _Place) -> str:
    # repr is exact, and knows infinity, which JSON does not
    return write_token(order_by, repr(last[0]), last[1])
