"""The page of a trial: its curves, its params against others', its attempts, its log and its replay."""

from typing import Any

from fastapi import APIRouter, Response

from service.dependencies import PartsDep
from service.errors import NoBest, ReplayNotFound
from service.lifecycle.studies.describe_best import describe_best
from service.lifecycle.studies.describe_study import show_study
from service.lifecycle.trials.find_neighbours import find_neighbours
from service.lifecycle.trials.replay_trial import show_replay
from service.lifecycle.trials.show_trial import show_trial
from service.routes.parameters import Number, StudyName
from service.store.store import Store
from service.web.frame import PageDep
from spezia.contract.best_trial import BestTrial, ParetoFront
from spezia.contract.curves import MAX_POINTS
from spezia.contract.objectives import CACHED_ROWS
from spezia.contract.replay import Replay
from spezia.contract.study_spec import Params
from spezia.contract.trial import TrialDetail

router = APIRouter()


@router.get("/studies/{name}/trials/{number}")
def get_trial_page(name: StudyName, number: Number, parts: PartsDep, page: PageDep) -> Response:
    """Show a trial in full."""
    store = parts.store
    trial = show_trial(store, name, number)
    study = show_study(store, name)
    columns = _others(parts, trial)
    return page.render(
        "trial.html",
        study=study,
        trial=trial,
        metrics=_metrics(study.spec.metric, trial),
        is_thinned=MAX_POINTS <= len(trial.intermediate_values) < trial.step,
        columns=columns,
        param_names=[one for one in study.spec.search_space if one in trial.params or _has(columns, one)],
        replay=_replay(store, name, number),
    )


def _has(columns: list[dict[str, Any]], name: str) -> bool:
    return any(name in column["params"] for column in columns)


def _others(parts: PartsDep, trial: TrialDetail) -> list[dict[str, Any]]:
    """Whom the trial is shown beside: the best, the baseline, and the trials that are most like it."""
    found: list[dict[str, Any]] = []

    def add(label: str, number: int | None, params: Params, value: float | None) -> None:
        if number is None or number not in {trial.number, *(one["number"] for one in found)}:
            found.append({"label": label, "number": number, "params": params, "value": value})

    try:
        answer = describe_best(parts.store, parts.files, trial.study)
    except NoBest:
        answer = None
    best = answer.pareto[0] if isinstance(answer, ParetoFront) else answer
    if isinstance(best, BestTrial):
        add("best", best.number, best.params, best.value)
        if best.baseline is not None and not trial.baseline:
            add("baseline", None, best.baseline.params, best.baseline.value)
    for one in find_neighbours(parts.store, trial.study, trial.number):
        add("near", one.number, one.params, one.value)
    return found


def _metrics(first: str, trial: TrialDetail) -> list[str]:
    """Metrics of the trial's evaluations, the objective's first."""
    named = {name for one in trial.intermediate_values for name in one.metrics} - {CACHED_ROWS}
    return sorted(named, key=lambda name: (name != first, name))


def _replay(store: Store, name: str, number: int) -> Replay | None:
    try:
        return show_replay(store, name, number)
    except ReplayNotFound:
        return None
