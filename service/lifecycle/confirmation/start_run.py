"""Hand out the runs that confirm a study's winner: its best trials and the baseline, under fresh seeds."""

from service.search.results.ranking import ranked
from service.store import attempts, confirm_runs, leases, trials
from service.store.attempts import Asker
from service.store.confirm_runs import Run
from service.store.leases import Lease
from service.store.studies import StudyRow
from service.store.transaction import Transaction
from service.store.trials import FrozenTrial


def start_run(tx: Transaction, study: StudyRow, run: Run, asker: Asker, reserved_seconds: float | None) -> Lease:
    """Grant a run of a locked study, one of `runs_left`."""
    number = confirm_runs.lease_number(run)
    n_past = attempts.count(tx, study.uuid, "confirm", number)
    return attempts.begin(tx, study.uuid, "confirm", number, asker, n_past=n_past, reserved_seconds=reserved_seconds)


def runs_left(tx: Transaction, study: StudyRow) -> list[Run]:
    """Return the runs that nobody carries out and nobody has ended, in their order."""
    held = {lease.number for lease in leases.of_study(tx, study.uuid) if lease.kind == "confirm"}
    return [run for run in _awaited(tx, study) if confirm_runs.lease_number(run) not in held]


def awaits_runs(tx: Transaction, study: StudyRow) -> bool:
    """Whether runs of a study whose search has ended have yet to end."""
    return bool(_awaited(tx, study))


def wanted_runs(tx: Transaction, study: StudyRow) -> list[Run]:
    """Return all runs by which the winner of the search, as it stands, is confirmed.

    Seed by seed, so that what a budget leaves room for compares all trials under some seeds.
    """
    assert study.spec.confirm is not None
    numbers = [trial.number for trial in best_trials(tx, study)]
    baseline = baseline_of(tx, study)
    if baseline is not None and baseline not in numbers:
        numbers.append(baseline)
    return [(number, seed) for seed in range(study.spec.confirm.seeds) for number in numbers]


def best_trials(tx: Transaction, study: StudyRow) -> list[FrozenTrial]:
    """Return the best ``confirm.top`` trials of the search, the best first."""
    assert study.spec.confirm is not None
    return ranked(trials.all_of(tx, study), study.spec)[: study.spec.confirm.top]


def baseline_of(tx: Transaction, study: StudyRow) -> int | None:
    """Return the number of the baseline, however it has ended; ``None`` where there is none."""
    return next((trial.number for trial in trials.all_of(tx, study) if trials.is_baseline(trial)), None)


def _awaited(tx: Transaction, study: StudyRow) -> list[Run]:
    ended = confirm_runs.ended(tx, study.uuid)
    return [run for run in wanted_runs(tx, study) if run not in ended]
