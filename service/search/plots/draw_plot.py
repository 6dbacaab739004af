"""Draw a plot of a study by `optuna.visualization`, on a snapshot of its trials."""

import math
from collections.abc import Callable, Sequence
from copy import copy
from typing import Any

import optuna
from optuna.pruners import NopPruner
from optuna.samplers import RandomSampler
from optuna.trial import FrozenTrial, TrialState

from service.search.plots.choose_trials import choose_trials
from service.search.plots.far_worse import far_worse_from
from service.search.plots.plain import plain, plain_trials
from service.search.results.importances import NoImportances, importances, of_one, varied
from service.search.snapshot_storage import SnapshotStorage
from spezia.common.lazy_module import LazyModule
from spezia.contract.plot import PlotKind
from spezia.contract.study_spec import StudySpec
from spezia.contract.tasks import Direction

visualization = LazyModule("optuna.visualization")
"""It loads Plotly, which a service without readers of plots never needs."""
graph_objects = LazyModule("plotly.graph_objects")

_OF_VALUES: tuple[PlotKind, ...] = ("history", "parallel-coordinates", "slice")
"""Plots with an axis of the trials' values."""
_MARGIN = 0.05
"""Part of an axis that is left free beside the values that it shows, where some lie beyond it."""
_NAME = "study"
"""Name of a study while it is drawn; no plot shows it."""


class NoPlot(ValueError):
    """A plot cannot be drawn; the message says why."""


def draw_plot(spec: StudySpec, trials: Sequence[FrozenTrial], kind: PlotKind, objective: int) -> bytes:
    """Return a figure of Plotly's as JSON. Where trials are too many, its title says how many of them it shows, and how
    many values are so much worse than the others that the plot would show nothing else.

    Args:
        objective: Index of the objective that is drawn; a Pareto front is of all, and a timeline of none.

    Raises:
        NoPlot: There is nothing to draw yet, or never will be.
    """
    chosen = choose_trials(spec, trials, kind)
    if not chosen:
        raise NoPlot("no trial has begun yet" if kind == "timeline" else "no trial is COMPLETE")
    values = _values(chosen, objective) if kind in _OF_VALUES else []
    sign = spec.objectives[objective].sign
    limit = far_worse_from(values, sign)
    n_far = sum(sign * value > sign * limit for value in values)
    if n_far and kind == "parallel-coordinates":
        chosen = [trial for trial in chosen if not sign * trial.values[objective] > sign * limit]
    figure = _DRAW[kind](spec, chosen, objective)
    if n_far and kind != "parallel-coordinates":
        best = sign * min(sign * value for value in values)
        margin = _MARGIN * (limit - best)
        figure.update_yaxes(range=sorted([best - margin, limit + margin]))
    n_drawable = sum(
        trial.state is not TrialState.WAITING if kind == "timeline" else trial.state is TrialState.COMPLETE
        for trial in trials
    )
    notes = [f"{len(chosen):,} of {n_drawable:,} trials"] if len(chosen) < n_drawable else []
    notes += [f"{n_far:,} far worse not shown"] if n_far else []
    if notes:
        figure.update_layout(title=f"{figure.layout.title.text} ({', '.join(notes)})")
    figure.update_layout(template="none")
    drawn: str = figure.to_json(validate=False)
    return drawn.encode()


def _values(trials: Sequence[FrozenTrial], objective: int) -> list[float]:
    complete = [trial.values[objective] for trial in trials if trial.state is TrialState.COMPLETE]
    return [value for value in complete if math.isfinite(value)]


def _history(spec: StudySpec, chosen: Sequence[FrozenTrial], objective: int) -> Any:
    # Optuna looks values up by number, as if no number were left out
    figure = visualization.plot_optimization_history(
        _of_one(spec, _counted(chosen), objective), target_name=_metric(spec, objective)
    )
    for trace in figure.data:
        trace.x = [chosen[place].number for place in trace.x]
    return figure


def _counted(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Copies of trials that are numbered from 0 while they are drawn."""
    counted = [copy(trial) for trial in trials]
    for place, trial in enumerate(counted):
        trial.number = place
    return counted


def _slice(spec: StudySpec, chosen: Sequence[FrozenTrial], objective: int) -> Any:
    return visualization.plot_slice(_of_one(spec, chosen, objective), target_name=_metric(spec, objective))


def _parallel_coordinates(spec: StudySpec, chosen: Sequence[FrozenTrial], objective: int) -> Any:
    # a trial without one of the params would not be drawn: those that some trials have alone are left out
    shared = [plain(name) for name in varied(spec, chosen)]
    if not shared:
        raise NoPlot("no parameter is searched in all trials, so their lines would have nothing in common")
    sign = spec.objectives[objective].sign
    # Optuna draws the lines in the order of the trials' numbers: the best come last, so that they lie in front
    best_last = sorted(chosen, key=lambda trial: -sign * trial.values[objective])
    return visualization.plot_parallel_coordinate(
        _of_one(spec, _counted(best_last), objective), params=shared, target_name=_metric(spec, objective)
    )


def _importances(spec: StudySpec, chosen: Sequence[FrozenTrial], objective: int) -> Any:
    try:
        shares = importances(spec, chosen, "ped-anova", objective)
    except NoImportances as none:
        raise NoPlot(str(none)) from None
    names = [plain(name) for name in reversed(shares)]
    bars = graph_objects.Bar(x=list(reversed(shares.values())), y=names, orientation="h")
    metric = _metric(spec, objective)
    layout = {"title": "Hyperparameter Importances", "xaxis": {"title": f"Importance for {metric}"}}
    return graph_objects.Figure(data=[bars], layout=layout)


def _timeline(spec: StudySpec, chosen: Sequence[FrozenTrial], _objective: int) -> Any:
    return visualization.plot_timeline(_study(spec.directions, chosen))


def _pareto_front(spec: StudySpec, chosen: Sequence[FrozenTrial], _objective: int) -> Any:
    metrics = [_metric(spec, objective) for objective in range(len(spec.objectives))]
    if not 2 <= len(metrics) <= 3:
        raise NoPlot(f"a Pareto front is drawn of two or three objectives, and this study has {len(metrics)}")
    return visualization.plot_pareto_front(_study(spec.directions, chosen), target_names=metrics)


_DRAW: dict[PlotKind, Callable[[StudySpec, Sequence[FrozenTrial], int], Any]] = {
    "history": _history,
    "parallel-coordinates": _parallel_coordinates,
    "importances": _importances,
    "slice": _slice,
    "timeline": _timeline,
    "pareto-front": _pareto_front,
}


def _of_one(spec: StudySpec, chosen: Sequence[FrozenTrial], objective: int) -> optuna.Study:
    """The study as if it had this one objective."""
    return _study([spec.directions[objective]], [_of_one_value(trial, objective) for trial in chosen])


def _of_one_value(trial: FrozenTrial, objective: int) -> FrozenTrial:
    return of_one(trial, objective) if trial.state is TrialState.COMPLETE else trial


def _study(directions: Sequence[Direction], chosen: Sequence[FrozenTrial]) -> optuna.Study:
    *others, last = plain_trials(chosen)
    # a snapshot needs a trial of its own; here it is one like the others
    storage = SnapshotStorage(study_name=_NAME, directions=directions, trials=others, own=last, study_system_attrs={})
    return optuna.load_study(study_name=_NAME, storage=storage, sampler=RandomSampler(), pruner=NopPruner())


def _metric(spec: StudySpec, objective: int) -> str:
    return plain(spec.objectives[objective].metric)
