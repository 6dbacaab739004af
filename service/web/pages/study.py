"""The page of a study: what is going on, what is best, how it went, what to do next, and why."""

import json
from typing import Annotated, Any, get_args
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request, Response

from service.dependencies import PartsDep
from service.errors import Invalid, NoBest
from service.lifecycle.studies.describe_best import describe_best
from service.lifecycle.studies.describe_study import show_study
from service.lifecycle.trials.list_decisions import list_decisions
from service.lifecycle.trials.list_trials import list_trials
from service.lifecycle.workers.list_workers import list_workers
from service.routes.parameters import PageToken, StudyName
from service.web.frame import PageDep
from service.web.pages.snippets import snippets
from service.web.pages.study_actions import actions
from spezia.contract.advice import Advice
from spezia.contract.best_trial import BestTrial, ParetoFront
from spezia.contract.study import Study
from spezia.contract.trial import TrialOrder, TrialState

PAGE_SIZE = 50
"""Number of trials on a page of the table."""
MOST_DECISIONS = 20
MOST_WORKERS = 100

PLOTS = (
    ("history", "History"),
    ("parallel-coordinates", "Parallel coordinates"),
    ("importances", "Importances"),
    ("slice", "Slice"),
    ("timeline", "Timeline"),
)
_FRONT_PLOT = ("pareto-front", "Pareto front")

_ORDERS: tuple[tuple[TrialOrder, str], ...] = (
    ("-number", "newest first"),
    ("number", "oldest first"),
    ("value", "best first"),
    ("-value", "worst first"),
    ("state", "running first"),
    ("-duration", "longest first"),
    ("duration", "shortest first"),
)
_STATE_NAMES = ("complete", "pruned", "fail", "running", "waiting")

router = APIRouter()


@router.get("/studies/{name}")
def get_study_page(
    name: StudyName,
    request: Request,
    parts: PartsDep,
    page: PageDep,
    state: Annotated[str, Query(max_length=8)] = "",
    order_by: TrialOrder = "-number",
    page_token: PageToken = None,
) -> Response:
    """Show a study with a page of its trials."""
    store = parts.store
    chosen: list[TrialState] = [one for one in get_args(TrialState) if one == state]
    study = show_study(store, name)
    answer, why_no_best = _best(parts, name)
    best = answer if isinstance(answer, BestTrial) else None
    front = answer.pareto if isinstance(answer, ParetoFront) else []
    leaders = [best] if best else front
    metrics = best.metrics if best else {}
    test_metrics = [(one, value) for one, value in sorted(metrics.items()) if one.startswith("test_")][:2]
    headed = {study.spec.metric, *dict(test_metrics)}
    address = str(request.base_url).rstrip("/")
    return page.render(
        "study.html",
        study=study,
        best=best,
        front=front,
        why_no_best=why_no_best,
        best_numbers=[one.number for one in leaders],
        param_names=list(study.spec.search_space),
        metrics=_metrics(study, metrics),
        test_metrics=test_metrics,
        other_metrics=[(one, value) for one, value in sorted(metrics.items()) if one not in headed],
        snippets=snippets(best, address) if best else [],
        actions=actions(study),
        bar=_bar(study),
        counts=[(one, n) for one in _STATE_NAMES if (n := getattr(study.trials, one))],
        seconds_left=_seconds_left(study),
        saved=_saved(study),
        plots=[*PLOTS, *([_FRONT_PLOT] if len(study.spec.objectives) > 1 else [])],
        advice=[_advice(one) for one in (leaders[0].advice if leaders else [])],
        notes=_notes(study, leaders),
        decisions=list_decisions(store, name, MOST_DECISIONS),
        most_decisions=MOST_DECISIONS,
        clone_name=_clone_name(name),
        **_workers(parts, name),
        **_table(parts, name, chosen, order_by, page_token),
    )


def _best(parts: PartsDep, name: str) -> tuple[BestTrial | ParetoFront | None, str]:
    try:
        return describe_best(parts.store, parts.files, name), ""
    except NoBest as reason:
        return None, str(reason)


def _table(
    parts: PartsDep, name: str, chosen: list[TrialState], order_by: TrialOrder, page_token: str | None
) -> dict[str, Any]:
    """A page of trials; a token that is of another list, as after the order was changed by hand, shows the first."""
    try:
        trials = list_trials(parts.store, name, PAGE_SIZE, page_token, chosen, order_by)
    except Invalid:
        page_token = None
        trials = list_trials(parts.store, name, PAGE_SIZE, page_token, chosen, order_by)
    state = chosen[0] if chosen else ""

    def href(order: str, token: str | None = None) -> str:
        given = {"state": state, "order_by": order, "page_token": token}
        return f"/studies/{name}?{urlencode({key: value for key, value in given.items() if value})}#trials"

    token = trials.next_page_token
    return {
        "trials": trials,
        "trial_states": get_args(TrialState),
        "chosen_state": state,
        "trial_orders": _orders(order_by),
        "order_by": order_by,
        "order_href": href,
        "next_href": None if token is None else href(order_by, token),
        "is_later_page": page_token is not None,
        "page_size": PAGE_SIZE,
    }


def _orders(order_by: TrialOrder) -> list[tuple[TrialOrder, str]]:
    """Orders to choose from: the usual ones, and the one that the table has."""
    if order_by in dict(_ORDERS):
        return list(_ORDERS)
    by = order_by.removeprefix("-").removeprefix("params.")
    return [*_ORDERS, (order_by, f"{by}, {'downwards' if order_by.startswith('-') else 'upwards'}")]


def _workers(parts: PartsDep, name: str) -> dict[str, Any]:
    connected = list_workers(parts.store, MOST_WORKERS, None).workers
    working = [(worker, [one for one in worker.work if one.study == name]) for worker in connected]
    return {"workers": [(worker, work) for worker, work in working if work], "n_workers": len(connected)}


def _bar(study: Study) -> list[tuple[str, int, int]]:
    """Parts of the bar of trials: state, where it starts, and how many trials it stands for."""
    start, parts = 0, []
    for state in _STATE_NAMES:
        count = getattr(study.trials, state)
        if count:
            parts.append((state, start, count))
        start += count
    return parts


def _seconds_left(study: Study) -> float | None:
    """Seconds until the study has probably ended, by its trials so far; ``None`` where nothing can be said."""
    if study.state != "running" or not study.n_finished or study.trials.paused:
        return None
    left = study.elapsed_seconds / study.n_finished * max(study.spec.n_trials - study.n_finished, 0)
    if study.spec.timeout_seconds is not None:
        left = min(left, max(study.spec.timeout_seconds - study.elapsed_seconds, 0.0))
    return left


def _saved(study: Study) -> list[tuple[str, float]]:
    saved = study.saved_seconds
    named = {
        "pruning": saved.pruning,
        "early stopping": saved.early_stopping,
        "the cache of frozen blocks": saved.trunk_cache,
    }
    return [(by, seconds) for by, seconds in named.items() if seconds is not None and round(seconds) > 0]


def _metrics(study: Study, known: dict[str, float]) -> list[str]:
    """Metrics that curves can be drawn of: the study's own first, then those that its best trial has reported."""
    reported = [one for one in sorted(known) if not one.startswith("test_")]
    return list(dict.fromkeys([study.spec.metric, *reported]))


def _advice(advice: Advice) -> dict[str, Any]:
    changes = [{"field": one.field, "value": json.dumps(one.value)} for one in advice.changes]
    edit = json.dumps([one.model_dump(mode="json") for one in advice.changes])
    return {"sentence": advice.sentence, "changes": changes, "edit": edit}


def _notes(study: Study, leaders: list[BestTrial]) -> list[str]:
    """What to know before using the answer, apart from what is advised and what the study's state says already."""
    if not leaders:
        return []
    said = {*study.warnings, *(one.sentence for one in leaders[0].advice)}
    return [one for one in dict.fromkeys(leaders[0].warnings) if one not in said]


def _clone_name(name: str) -> str:
    return f"{name[:62]}-2"
