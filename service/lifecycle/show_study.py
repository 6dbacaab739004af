"""GET /v1/studies/{name} and the list of studies."""

from service.contract.study import Best, Study, StudyList
from service.lifecycle.compare_small import compare_small
from service.lifecycle.explain import best_point, generalization_gap, points
from service.search.best import best_trial
from service.store import leases, measurements, studies, trials
from service.store.studies import StudyRow
from service.store.transaction import Store, Transaction


def show_study(store: Store, name: str) -> Study:
    """Describe one study as it is now.

    Raises:
        StudyNotFound: There is none of this name.
    """
    with store.reading() as tx:
        return describe(tx, studies.find(tx, name))


def list_studies(store: Store, limit: int, page_token: str | None, state: str | None) -> StudyList:
    """One page of studies, by name; ``page_token`` is the last name of the page before."""
    with store.reading() as tx:
        rows = studies.page(tx, limit + 1, page_token, state)
        shown = [describe(tx, row) for row in rows[:limit]]
    return StudyList(studies=shown, next_page_token=shown[-1].name if len(rows) > limit else None)


def describe(tx: Transaction, study: StudyRow) -> Study:
    counts = trials.counts(tx, study)
    seen = trials.all_of(tx, study)
    best = best_trial(seen, study.spec.direction)
    curve = points(measurements.of_last_attempt(tx, study.uuid, best.number)) if best else []
    until = study.finished_at or tx.now
    return Study(
        name=study.name,
        state=study.state,
        failure=study.failure,
        spec=study.spec,
        facts=study.facts,
        trials=counts,
        best=None if best is None else Best(number=best.number, value=best.value),  # type: ignore[arg-type]
        n_finished=counts.complete + counts.pruned + counts.fail,
        failures=dict(trials.failures_by_class(seen)),
        generalization_gap=generalization_gap(best_point(study.spec, curve).metrics) if curve else None,
        elapsed_seconds=max(0.0, (until - study.created_at).total_seconds()),
        device_seconds=leases.device_seconds(tx, study.uuid),
        created_at=study.created_at,
        finished_at=study.finished_at,
        start_small=compare_small(tx, study, seen),
        warnings=study.warnings,
    )
