"""Compare pilots, which are small runs, with full trials: do they rank params alike?"""

from statistics import StatisticsError, correlation

from service.search.results.ranking import first_value
from service.store import pilots
from service.store.pilots import PilotRow
from service.store.studies import StudyRow
from service.store.transaction import Transaction
from service.store.trials import FrozenTrial
from spezia.common.plural import plural
from spezia.contract.start_small import SmallRun, SmallRuns

_MIN_COMPARED = 3
"""Two pairs correlate by 1 or -1, whatever they are."""

_STRONG, _WEAK = 0.7, 0.3
"""Where the words change. Our judgement: with the default of four runs only 0.8 and 1 are above the first, which
chance alone reaches in 4 of 24 orders."""


def compare_pilots(tx: Transaction, study: StudyRow, seen: list[FrozenTrial]) -> SmallRuns | None:
    """Compare pilots with the COMPLETE trials of the same params, by the first objective.

    Returns ``None`` where the spec asks for no pilots.

    A PRUNED trial is left out: its last value is of less training.
    """
    if study.spec.start_small is None:
        return None
    first = seen[: study.spec.start_small.trials]
    complete = {trial.number: first_value(trial) for trial in first if trial.state.name == "COMPLETE"}
    runs = [_shown(run, complete.get(run.number)) for run in pilots.of_study(tx, study.uuid).values()]
    pairs = [(run.value, run.full_value) for run in runs if run.value is not None and run.full_value is not None]
    rho = _spearman([small for small, _ in pairs], [full for _, full in pairs])
    return SmallRuns(
        fraction=study.spec.start_small.fraction,
        runs=runs,
        n_compared=len(pairs),
        rank_correlation=rho,
        meaning=_meaning(rho, len(pairs)),
    )


def _shown(run: PilotRow, full_value: float | None) -> SmallRun:
    failure = None if run.failure is None else f"{run.failure.failure_class}: {run.failure.message}"
    return SmallRun(number=run.number, value=run.value, failure=failure, full_value=full_value)


def _spearman(small: list[float], full: list[float]) -> float | None:
    """Pearson's correlation of ranks; ties share the mean of theirs."""
    if len(small) < _MIN_COMPARED:
        return None
    try:
        return correlation(_ranks(small), _ranks(full))
    except StatisticsError:  # all values of one kind are equal
        return None


def _ranks(values: list[float]) -> list[float]:
    ordered = sorted(values)
    return [ordered.index(value) + (ordered.count(value) - 1) / 2 for value in values]


def _meaning(rho: float | None, n_compared: int) -> str:
    if rho is None:
        both = f"{plural(n_compared, 'trial')} with both a small run's value and a full one"
        return f"{both}: too few, or too alike, to compare"
    if rho >= _STRONG:
        return "small runs ranked these params as full ones did: a search on less data may find as good ones"
    if rho >= _WEAK:
        return "small runs ranked these params partly as full ones did: use them to sort out the worst only"
    return "small runs ranked these params differently from full ones: do not choose by runs on less data"
