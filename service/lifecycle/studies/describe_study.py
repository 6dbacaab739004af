"""Describe studies as people see them (GET /v1/studies/{name})."""

from collections.abc import Sequence

from service.lifecycle.studies.budgets import elapsed_seconds
from service.lifecycle.studies.summarise import summary_of
from service.store import confirm_runs, quotes, studies, study_summaries
from service.store.store import Store
from service.store.studies import StudyRow
from service.store.study_summaries import Totals
from service.store.transaction import Transaction
from spezia.contract.pruners import RungsPruner
from spezia.contract.quote import Quote
from spezia.contract.start_small import SmallRuns
from spezia.contract.study import Best, Study, TrialCounts


def show_study(store: Store, name: str) -> Study:
    """Describe the study of this name as it is now.

    Raises:
        StudyNotFound: There is no study of this name.
    """
    with store.reading() as tx:
        return describe_study(tx, studies.find(tx, name))


def describe_study(tx: Transaction, study: StudyRow) -> Study:
    """Describe a study as people see it: its state, counts, best trial so far, progress, facts and spec."""
    return describe_studies(tx, [study])[0]


def describe_studies(tx: Transaction, rows: Sequence[StudyRow]) -> list[Study]:
    """Describe studies as `describe_study`, without reading their trials."""
    totals = study_summaries.of_studies(tx, [row.uuid for row in rows])
    quoted = quotes.of_studies(tx, [row.uuid for row in rows])
    n_runs = confirm_runs.counts(tx, [row.uuid for row in rows if row.spec.confirm is not None])
    return [_describe(tx, row, totals[row.uuid], quoted.get(row.uuid), n_runs.get(row.uuid, 0)) for row in rows]


def _describe(tx: Transaction, study: StudyRow, totals: Totals, quoted: Quote | None, n_confirm_runs: int) -> Study:
    # one that is yet to be made is of a study older than summaries are
    summary = totals.summary or summary_of(tx, study)
    counts = TrialCounts(
        waiting=totals.waiting,
        paused=totals.paused,
        running=totals.running,
        complete=summary.complete,
        pruned=summary.pruned,
        fail=summary.fail,
    )
    is_one = len(study.spec.objectives) == 1
    best = None
    if is_one and summary.best_value is not None:
        best = Best(number=summary.leaders[0], value=summary.best_value)
    return Study(
        name=study.name,
        owner=study.owner,
        state=study.state,
        failure=study.failure,
        spec=study.spec,
        facts=study.facts,
        trials=counts,
        best=best,
        pareto=None if is_one else summary.leaders,
        n_finished=counts.n_finished,
        failures=summary.failures,
        generalization_gap=summary.generalization_gap,
        elapsed_seconds=elapsed_seconds(tx, study),
        device_seconds=totals.device_seconds,
        replay_seconds=totals.replay_seconds,
        saved_seconds=totals.saved,
        quote=quoted,
        quote_error=None if quoted is None else _quote_error(study, counts, totals, quoted),
        created_at=study.created_at,
        finished_at=study.finished_at,
        start_small=None if summary.small_runs is None else SmallRuns.model_validate(summary.small_runs),
        n_confirm_runs=n_confirm_runs,
        warnings=study.warnings,
    )


def _quote_error(study: StudyRow, counts: TrialCounts, totals: Totals, quoted: Quote) -> float | None:
    """``None`` unless the study has done what was quoted. Trials that ended early count as if they had not, but under
    rungs, of which a quote knows how many go on."""
    if study.state != "complete" or counts.n_finished != quoted.n_trials or counts.fail:
        return None
    if not quoted.device_seconds.expected:
        return None  # as where a worker has timed nothing but zeros
    taken = totals.device_seconds + (totals.saved.early_stopping or 0.0)
    if not isinstance(study.spec.pruner, RungsPruner):
        taken += totals.saved.pruning or 0.0
    return taken / quoted.device_seconds.expected - 1
