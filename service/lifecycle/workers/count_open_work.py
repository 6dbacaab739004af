"""How many more workers would find work now, for a launcher that starts workers by demand."""

from service.lifecycle.confirmation.start_run import runs_left
from service.lifecycle.leases.next_step import next_step
from service.lifecycle.pilots.start_pilot import pilots_left
from service.store import leases, parquet_heads, replays, studies, trials
from service.store.store import Store
from service.store.studies import StudyRow
from service.store.transaction import Transaction
from service.store.work import studies_with_work


def count_open_work(store: Store, enough: int) -> int:
    """Return how many assignments could be given out now; what goes beyond ``enough`` is not counted.

    New trials count as many as may run side by side, though a pruner or a budget may end the study before.
    """
    with store.reading() as tx:
        to_read, to_replay, with_work = tx.ask(
            parquet_heads.waiting(tx.about_now), replays.waiting(), studies_with_work(tx.about_now)
        )
        n_open = (to_read is not None) + len(to_replay)
        for study_id, _ in with_work:
            if n_open >= enough:
                break
            study, _ = tx.ask(studies.by_id(tx.caches.studies, study_id), tx.trials.loading(study_id))
            n_open += 0 if study is None else _count(tx, study)
    return min(n_open, enough)


def _count(tx: Transaction, study: StudyRow) -> int:
    match next_step(tx, study, None):
        case None | "settle":
            return 0
        case "pilot":
            n_left = len(pilots_left(tx, study))
        case "confirm":
            n_left = len(runs_left(tx, study))
        case "waiting trial" | "new trial":
            n_left = len(trials.waiting(tx, study)) + study.spec.n_trials - trials.counts(tx, study).n_total
        case _:
            n_left = 1
    limit = study.spec.n_parallel
    return n_left if limit is None else min(n_left, limit - len(leases.of_study(tx, study.uuid)))
