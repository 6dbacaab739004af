"""Describe a study as people see it (GET /v1/studies/{name})."""

from service.lifecycle.pilots.compare_pilots import compare_pilots
from service.lifecycle.studies.budgets import elapsed_seconds
from service.search.results.learning_curve import best_point, generalization_gap, points
from service.search.results.ranking import leaders
from service.store import attempts, measurements, studies, trials
from service.store.store import Store
from service.store.studies import StudyRow
from service.store.transaction import Transaction
from spezia.contract.study import Best, Study


def show_study(store: Store, name: str) -> Study:
    """Describe the study of this name as it is now.

    Raises:
        StudyNotFound: There is no study of this name.
    """
    with store.reading() as tx:
        return describe_study(tx, studies.find(tx, name))


def describe_study(tx: Transaction, study: StudyRow) -> Study:
    """Describe a study as people see it: its state, counts, best trial so far, progress, facts and spec."""
    counts = trials.counts(tx, study)
    seen = trials.all_of(tx, study)
    found = leaders(seen, study.spec)
    is_one = len(study.spec.objectives) == 1
    best = found[0] if found and is_one else None
    curve = points(measurements.of_last_attempt(tx, study.uuid, best.number)) if best else []
    return Study(
        name=study.name,
        owner=study.owner,
        state=study.state,
        failure=study.failure,
        spec=study.spec,
        facts=study.facts,
        trials=counts,
        best=None if best is None else Best(number=best.number, value=best.values[0]),
        pareto=None if is_one else [trial.number for trial in found],
        n_finished=counts.n_finished,
        failures=dict(trials.failures_by_class(tx, study)),
        generalization_gap=generalization_gap(best_point(study.spec, curve).metrics) if curve else None,
        elapsed_seconds=elapsed_seconds(tx, study),
        device_seconds=attempts.device_seconds(tx, study.uuid),
        created_at=study.created_at,
        finished_at=study.finished_at,
        start_small=compare_pilots(tx, study, seen),
        warnings=study.warnings,
    )
