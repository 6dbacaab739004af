"""Keep what the finished trials of a study come to, so that a list of studies reads none of them."""

from collections.abc import Sequence
from functools import partial

from service.lifecycle.confirmation.winner import confirmed_leaders
from service.lifecycle.one_by_one import one_by_one
from service.lifecycle.pilots.compare_pilots import compare_pilots
from service.search.results.learning_curve import best_step, generalization_gap
from service.store import measurements, studies, study_summaries, trials
from service.store.store import Store
from service.store.studies import StudyRow
from service.store.study_summaries import Summary
from service.store.transaction import Transaction
from service.store.trials import FrozenTrial

_AT_A_TIME = 25
"""Summaries that one round of the service makes of studies that are older than summaries are."""


def summarise(tx: Transaction, study: StudyRow) -> None:
    """Store what the finished trials of a locked study come to, unless that is stored already."""
    stored = study_summaries.find(tx, study.uuid)
    current = summary_of(tx, study, stored)
    if current != stored:
        study_summaries.put(tx, study.uuid, current)


def summarise_old(store: Store) -> None:
    """Store the summaries of some studies that have none because they are older than summaries are."""
    with store.reading() as tx:
        found = study_summaries.stale(tx, _AT_A_TIME)
    one_by_one(found, partial(_summarise_one, store))


def _summarise_one(store: Store, study_uuid: str) -> None:
    with store.writing() as tx:
        study = studies.lock_by_uuid(tx, study_uuid)
        if study is not None:
            summarise(tx, study)


def summary_of(tx: Transaction, study: StudyRow, stored: Summary | None = None) -> Summary:
    """Return what the finished trials of a study come to.

    Args:
        stored: What they came to before, of which the gap is taken over while the same trial is the best.
    """
    found = confirmed_leaders(tx, study)
    counts = trials.counts(tx, study)
    numbers = [trial.number for trial in found]
    has_same_best = stored is not None and stored.leaders[:1] == numbers[:1]
    return Summary(
        complete=counts.complete,
        pruned=counts.pruned,
        fail=counts.fail,
        failures=dict(trials.failures_by_class(tx, study)),
        leaders=numbers,
        best_value=found[0].values[0] if found else None,
        generalization_gap=stored.generalization_gap if stored and has_same_best else _gap(tx, study, found),
        small_runs=_small_runs(tx, study),
    )


def _gap(tx: Transaction, study: StudyRow, found: Sequence[FrozenTrial]) -> float | None:
    if not found or len(study.spec.objectives) > 1 or not found[0].intermediate_values:
        return None
    step = best_step(study.spec, found[0].intermediate_values)
    best = measurements.last_at_step(tx, study.uuid, found[0].number, step)
    return None if best is None else generalization_gap(best.metrics)


def _small_runs(tx: Transaction, study: StudyRow) -> dict[str, object] | None:
    compared = compare_pilots(tx, study, trials.all_of(tx, study))
    return None if compared is None else compared.model_dump(mode="json")
