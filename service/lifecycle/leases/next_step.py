"""What a study has to do next: seen before anything is locked, and decided under the lock of the study."""

from typing import Literal

from service.lifecycle.confirmation.start_run import runs_left
from service.lifecycle.leases.next_promotion import next_promotion
from service.lifecycle.leases.work_request import WorkRequest
from service.lifecycle.pilots.start_pilot import awaits_pilots, pilots_left
from service.lifecycle.studies.budgets import is_full, is_overdue
from service.lifecycle.studies.state_machine import needs_confirmation, needs_score, search_has_ended
from service.store import leases, trials
from service.store.studies import StudyRow
from service.store.transaction import Transaction

Step = Literal["prepare", "settle", "probe", "pilot", "promotion", "waiting trial", "new trial", "confirm", "score"]


def next_step(tx: Transaction, study: StudyRow, asked: WorkRequest | None) -> Step | None:
    """Return what is to be done next in a study; ``None``: nothing, until something happens in it.

    `studies_with_work` finds every study that has something to do.

    Args:
        asked: What a worker asks with, for which others hold some promotions back; ``None``: whoever asks.
    """
    if study.has_ended or study.state == "paused":
        return None
    if study.state == "running" and is_overdue(tx, study):
        return "settle"
    if study.facts is None:
        return None if leases.of_study(tx, study.uuid) else "prepare"
    if study.state == "running" and not is_full(tx, study):
        if _may_be_probed(tx, study):
            return (
                "probe"  # before the trials, which others run meanwhile: it says how to search, and what that will take
            )
        if awaits_pilots(tx, study):
            return "pilot" if pilots_left(tx, study) else None
        if next_promotion(tx, study, asked) is not None:
            return "promotion"
        if trials.waiting(tx, study):
            return "waiting trial"
        if trials.counts(tx, study).n_total < study.spec.n_trials:
            return "new trial"
    if not search_has_ended(tx, study):
        return None
    if needs_confirmation(tx, study):
        may_run = not is_overdue(tx, study) and not is_full(tx, study)
        return "confirm" if may_run and runs_left(tx, study) else None
    return "score" if needs_score(tx, study) and not leases.of_study(tx, study.uuid) else None


def _may_be_probed(tx: Transaction, study: StudyRow) -> bool:
    is_awaited = study.facts is not None and study.facts.awaits_probe
    return is_awaited and all(held.kind != "probe" for held in leases.of_study(tx, study.uuid))
