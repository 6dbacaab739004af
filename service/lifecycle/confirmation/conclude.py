"""Say what runs under fresh seeds have found, when all of them have ended or no more are made."""

from collections.abc import Mapping
from typing import Literal

from service.lifecycle.confirmation.start_run import baseline_of, best_trials, wanted_runs
from service.lifecycle.confirmation.verdict import shown_runs, verdict
from service.store import confirm_runs, studies
from service.store.confirm_runs import Run, RunRow
from service.store.studies import StudyRow
from service.store.transaction import Transaction
from spezia.common.plural import plural
from spezia.contract.confirm import Confirmation

_OUT_OF_TIME = "budget"
"""Failure class of a run that was cut short, which says nothing of its trial."""


def conclude(tx: Transaction, study: StudyRow, why_now: str | None = None) -> StudyRow:
    """Store what the runs of a locked study have found; without all of them that is nothing.

    Args:
        why_now: Reason for which no more of them are made, if some are missing.
    """
    wanted, ended = _runs(tx, study)
    baseline = baseline_of(tx, study)
    n_cut = _n_cut(ended)
    if baseline is not None and len(ended) == len(wanted) and not n_cut:
        best = best_trials(tx, study)
        return studies.change(tx, study, confirmation=verdict(study.spec, best, baseline, ended))
    why = why_now or (
        f"time was up for {plural(n_cut, 'run')}" if n_cut else "the study has no baseline to compare with"
    )
    sentence = f"not confirmed: {why}; {_progress(wanted, ended)}, and nothing is claimed"
    return studies.change(tx, study, confirmation=_unfinished(tx, study, "incomplete", sentence, wanted, ended))


def lacks_runs(tx: Transaction, study: StudyRow) -> bool:
    """Whether the confirmation of a study was left incomplete for want of runs that might still be made."""
    if study.confirmation is None or study.confirmation.state != "incomplete" or not best_trials(tx, study):
        return False
    wanted, ended = _runs(tx, study)
    return len(ended) < len(wanted) or _n_cut(ended) > 0


def show_confirmation(tx: Transaction, study: StudyRow, *, search_has_ended: bool) -> Confirmation | None:
    """Return what the runs of a study have found, or how far they are; ``None`` where it asks for none."""
    if study.spec.confirm is None or study.confirmation is not None:
        return study.confirmation
    if not search_has_ended:
        return Confirmation(state="waiting", sentence="the winner is confirmed under fresh seeds after the search")
    wanted, ended = _runs(tx, study)
    return _unfinished(tx, study, "running", _progress(wanted, ended), wanted, ended)


def _runs(tx: Transaction, study: StudyRow) -> tuple[list[Run], dict[Run, RunRow]]:
    """All runs that there are to be, and those that have ended, both in their order."""
    wanted, ended = wanted_runs(tx, study), confirm_runs.of_study(tx, study.uuid)
    return wanted, {run: ended[run] for run in wanted if run in ended}


def _n_cut(ended: Mapping[Run, RunRow]) -> int:
    """How many runs were cut short."""
    return sum(row.failure is not None and row.failure.failure_class == _OUT_OF_TIME for row in ended.values())


def _unfinished(
    tx: Transaction,
    study: StudyRow,
    state: Literal["running", "incomplete"],
    sentence: str,
    wanted: list[Run],
    ended: Mapping[Run, RunRow],
) -> Confirmation:
    best = best_trials(tx, study)
    return Confirmation(
        state=state,
        sentence=sentence,
        runs=shown_runs(ended),
        n_runs=len(wanted),
        searched_winner=best[0].number if best else None,
    )


def _progress(wanted: list[Run], ended: Mapping[Run, RunRow]) -> str:
    return f"{len(ended)} of {len(wanted)} runs under fresh seeds have ended"
