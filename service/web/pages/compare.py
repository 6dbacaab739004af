"""The page that shows two to five trials of a study side by side."""

import re
from typing import Annotated

from fastapi import APIRouter, Query, Response

from service.dependencies import StoreDep
from service.errors import TrialNotFound
from service.lifecycle.studies.describe_study import show_study
from service.lifecycle.trials.show_trial import show_trial
from service.routes.parameters import StudyName
from service.store.store import Store
from service.web.frame import PageDep
from spezia.contract.hyperparameters import ParamValue
from spezia.contract.objectives import CACHED_ROWS
from spezia.contract.trial import Evaluation, TrialDetail

LEAST, MOST = 2, 5
"""Fewest and most trials that are compared."""

router = APIRouter()


@router.get("/studies/{name}/compare")
def get_compare_page(
    name: StudyName,
    store: StoreDep,
    page: PageDep,
    trials: Annotated[list[str], Query(default_factory=list, max_length=100)],
) -> Response:
    """Show trials side by side: ``trials`` are their numbers, one each or several with commas between."""
    asked = ", ".join(trials)
    numbers = list(dict.fromkeys(int(one) for one in re.findall(r"\d{1,9}", asked)))
    study = show_study(store, name)
    shown: list[TrialDetail] = []
    problem = ""
    if LEAST <= len(numbers) <= MOST:
        shown, problem = _find(store, name, numbers)
    elif numbers:
        problem = f"Trials named: {len(numbers)}; give {LEAST} to {MOST}."
    best = [_best_evaluation(one) for one in shown]
    metrics = sorted({metric for one in best if one for metric in one.metrics} - {CACHED_ROWS})
    return page.render(
        "compare.html",
        study=study,
        asked=asked,
        trials=shown,
        best=best,
        problem=problem,
        params=[_row(param, shown) for param in study.spec.search_space],
        metrics=sorted(metrics, key=lambda metric: metric != study.spec.metric),
    )


def _find(store: Store, name: str, numbers: list[int]) -> tuple[list[TrialDetail], str]:
    try:
        return [show_trial(store, name, number) for number in numbers], ""
    except TrialNotFound as missing:
        return [], str(missing)


def _row(param: str, shown: list[TrialDetail]) -> tuple[str, list[ParamValue | None], bool]:
    """A param's name, its value in each trial, and whether the trials differ in it."""
    values = [trial.params.get(param) for trial in shown]
    return param, values, len(set(values)) > 1


def _best_evaluation(trial: TrialDetail) -> Evaluation | None:
    return next((one for one in trial.intermediate_values if one.step == trial.best_step), None)
