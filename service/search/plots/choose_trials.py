"""Choose the trials that a plot shows, where they are too many to be drawn soon."""

import math
from collections.abc import Iterator, Sequence

from optuna.trial import FrozenTrial, TrialState

from service.search.results.evenly_spread import evenly_spread
from service.search.results.ranking import ranked
from spezia.contract.plot import MAX_DRAWN, MAX_LINES, PlotKind
from spezia.contract.study_spec import StudySpec


def choose_trials(spec: StudySpec, trials: Sequence[FrozenTrial], kind: PlotKind) -> list[FrozenTrial]:
    """Return the trials that a plot shows: COMPLETE ones, but for a timeline, up to `MAX_DRAWN`, or `MAX_LINES`.

    Of a history they are all trials in any state, since Optuna looks for a value at the place of its trial's number.
    Of a timeline they are the last ones; of importances, which a choice of the best would distort, evenly spread ones;
    else the best, those that were the best in their time, and others that are evenly spread.
    """
    if kind == "timeline":
        return [trial for trial in trials if trial.state is not TrialState.WAITING][-MAX_DRAWN:]
    complete = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    if kind == "history":
        return list(trials) if complete else []
    at_most = MAX_LINES if kind == "parallel-coordinates" else MAX_DRAWN
    if len(complete) <= at_most or kind == "importances":
        return list(evenly_spread(complete, at_most))
    best = ranked(complete, spec)[: at_most // 4]
    records = list(_records(complete, spec.objectives[0].sign))[-(at_most // 4) :]
    shown = {trial.number for trial in [*best, *records]}
    others = [trial for trial in complete if trial.number not in shown]
    shown |= {trial.number for trial in evenly_spread(others, at_most - len(shown))}
    return [trial for trial in complete if trial.number in shown]


def _records(complete: Sequence[FrozenTrial], sign: int) -> Iterator[FrozenTrial]:
    """Trials that were better than all before them, by the first objective."""
    best = math.inf
    for trial in complete:
        if sign * trial.values[0] < best:
            best = sign * trial.values[0]
            yield trial
