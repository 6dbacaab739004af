"""What a study has to do next: seen before anything is locked, and decided under the lock of the study."""

from typing import Literal

from service.lifecycle.leases.next_promotion import next_promotion
from service.lifecycle.leases.work_request import WorkRequest
from service.lifecycle.pilots.start_pilot import awaits_pilots, pilots_left
from service.lifecycle.studies.budgets import is_full, is_overdue
from service.lifecycle.studies.state_machine import needs_score
from service.store import leases, trials
from service.store.studies import StudyRow
from service.store.transaction import Transaction

Step = Literal["prepare", "settle", "probe", "pilot", "promotion", "waiting trial", "new trial", "score"]


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
    return "score" if _may_be_scored(tx, study) else None


def _may_be_probed(tx: Transaction, study: StudyRow) -> bool:
    is_awaited = study.facts is not None and study.facts.awaits_probe
    return is_awaited and all(held.kind != "probe" for held in leases.of_study(tx, study.uuid))


def _may_be_scored(tx: Transaction, study: StudyRow) -> bool:
    counts = trials.counts(tx, study)
    trials_are_over = study.state == "stopping" or counts.n_finished >= study.spec.n_trials
    if counts.running or counts.waiting or not trials_are_over or not needs_score(tx, study):
        return False
    return not leases.of_study(tx, study.uuid)
