"""Hand work to a worker, under a lease (POST /v1/workers/{id}/dispatch).

What a worker gets, first to last: its own unfinished assignments, `prepare`, a trial that waits, a new trial,
`score`. A new trial's params are proposed outside any lock; the transaction that writes it checks that the
study has not moved on meanwhile, as when another service has got in between, and if it has, the proposal is made
again at once, under the lock: whoever went to make it outside would be too late again and again.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, Literal

from service.errors import WorkerUnknown
from service.failpoints import failpoint
from service.lease_terms import HEARTBEAT_SECONDS
from service.lifecycle.leases.lease_fields import lease_fields
from service.lifecycle.leases.propose_next import Next, propose_ahead, propose_locked, propose_next
from service.lifecycle.leases.start_waiting_trial import start_waiting_trial
from service.lifecycle.pilots.start_pilot import awaits_pilots, start_pilot
from service.lifecycle.studies.budgets import is_full, is_overdue, seconds_left, seconds_to_reserve
from service.lifecycle.studies.state_machine import begin_stopping, needs_score, settle
from service.lifecycle.trials.add_proposed import add_proposed
from service.search.propose.proposer import Proposer
from service.search.results.ranking import best_trial
from service.search.space.params import trial_params
from service.store import artifacts, attempts, leases, studies, trials, workers
from service.store.attempts import Asker
from service.store.leases import Lease
from service.store.store import Store
from service.store.studies import StudyRow
from service.store.transaction import Transaction
from spezia.contract.protocol import (
    Assignment,
    HeldCheckpoint,
    PrepareAssignment,
    ScoreAssignment,
    SmallAssignment,
    TrialAssignment,
)

log = logging.getLogger(__name__)

SEEN = timedelta(seconds=HEARTBEAT_SECONDS)
"""How often it is noted that a worker which waits for work is there."""


@dataclass(frozen=True)
class _Asker(Asker):
    checkpoints: Sequence[HeldCheckpoint]


def dispatch(
    store: Store,
    proposer: Proposer,
    worker_id: str,
    slots: int,
    checkpoints: Sequence[HeldCheckpoint] = (),
    *,
    hands_out_again: bool = True,
) -> list[Assignment]:
    """Return up to ``slots`` assignments of one study; none if there is nothing to do now.

    Args:
        checkpoints: Checkpoints of trials that the worker holds, to go on from.
        hands_out_again: Whether a worker that holds leases gets them again. Not for a poll that has waited: what
            its worker holds now was granted to a newer request, whose token must stay good.

    Raises:
        WorkerUnknown: The worker is not registered.
    """
    with store.reading() as tx:
        tx.expect_now()
        worker, own, in_turn = tx.ask(workers.find(worker_id), leases.of_worker(worker_id), studies.open_studies())
        if worker is None:
            raise WorkerUnknown
        is_due = tx.now - worker.last_seen_at >= SEEN
        asker = _Asker(worker_id, str(worker.device["name"])[:256], checkpoints)
    bf16 = bool(worker.device["bf16"])
    if is_due:
        with store.writing() as tx:
            workers.see(tx, worker_id)
    if own and not hands_out_again:
        return []
    if own and (again := _hand_out_again(store, own[0].study_uuid, worker_id, slots)):
        return again
    for study in in_turn:
        if not bf16 and study.facts is not None and study.facts.precision == "bf16":
            continue  # its trials would not compare: a worker that cannot keep the pinned precision gets none
        assignments = _from_study(store, proposer, study, asker, slots)
        if assignments:
            return assignments
    return []


def _hand_out_again(store: Store, study_uuid: str, worker_id: str, slots: int) -> list[Assignment]:
    with store.writing() as tx:
        study = studies.lock_by_uuid(tx, study_uuid)
        if study is None:
            return []
        again = [_assignment(tx, study, held) for held in leases.hand_out_again(tx, study_uuid, worker_id, slots)]
        failpoint("dispatch.before_hand_out")
    failpoint("dispatch.after_hand_out")
    return again


def _from_study(store: Store, proposer: Proposer, seen: StudyRow, asker: _Asker, slots: int) -> list[Assignment]:
    assignments: list[Assignment] = []
    with proposer.turn(seen.uuid):
        while len(assignments) < slots:
            proposal = propose_next(store, proposer, seen.study_id)
            failpoint("dispatch.after_propose")
            with store.writing() as tx:
                study = studies.lock_by_id(tx, seen.study_id)
                granted = None if study is None else _grant_next(tx, study, proposal, asker, proposer)
                failpoint("dispatch.before_commit")
            failpoint("dispatch.after_commit")
            if granted == "again":
                continue
            if granted is None:
                break
            assignments.append(granted)
        if assignments:
            propose_ahead(store, proposer, assignments[-1])
    return assignments


def _grant_next(
    tx: Transaction, study: StudyRow, proposed: Next | None, asker: _Asker, proposer: Proposer
) -> Assignment | Literal["again"] | None:
    if study.has_ended or study.state == "paused":
        return None
    if study.state == "running" and is_overdue(tx, study):
        settle(tx, study)
        return "again"
    if study.facts is None:
        return _grant_alone(tx, study, "prepare", 0, asker)
    if study.state == "running" and not is_full(tx, study):
        if awaits_pilots(tx, study):
            pilot = start_pilot(tx, study, asker)
            return None if pilot is None else _assignment(tx, study, pilot)
        waiting = start_waiting_trial(tx, study, asker, asker.checkpoints)
        if waiting is not None:
            return _assignment(tx, study, waiting)
        number = trials.counts(tx, study).n_total
        if number < study.spec.n_trials:
            if proposed is None or proposed.number != number:
                proposed = propose_locked(tx, proposer, study)
            return "again" if proposed is None else _grant_proposed(tx, study, proposed, asker)
    return _grant_score(tx, study, asker)


def _grant_proposed(tx: Transaction, study: StudyRow, proposed: Next, asker: _Asker) -> Assignment | Literal["again"]:
    proposal = proposed.proposal
    if proposal is None:
        # a grid has visited every point: the study ends when its running trials have
        settle(tx, begin_stopping(tx, study, "complete"))
        return "again"
    trial = add_proposed(tx, study, "RUNNING", proposal, {})
    return _grant(tx, study, "trial", trial.number, asker, n_past=0)


def _grant_score(tx: Transaction, study: StudyRow, asker: _Asker) -> Assignment | None:
    counts = trials.counts(tx, study)
    trials_are_over = study.state == "stopping" or counts.n_finished >= study.spec.n_trials
    if counts.running or counts.waiting or not trials_are_over or not needs_score(tx, study):
        return None
    best = best_trial(trials.all_of(tx, study), study.spec)
    assert best is not None
    if best.number not in artifacts.kept_models(tx, study.uuid):
        warning = "the winner was not scored on the test split: no model was kept (training.keep_models)"
        settle(tx, studies.change(tx, study, is_scored=True, warnings=[*study.warnings, warning]))
        return None
    return _grant_alone(tx, study, "score", best.number, asker)


def _grant_alone(tx: Transaction, study: StudyRow, kind: leases.Kind, number: int, asker: _Asker) -> Assignment | None:
    if leases.of_study(tx, study.uuid):
        return None
    return _grant(tx, study, kind, number, asker, n_past=attempts.count(tx, study.uuid, kind, number))


def _grant(tx: Transaction, study: StudyRow, kind: leases.Kind, number: int, asker: _Asker, n_past: int) -> Assignment:
    seconds = seconds_to_reserve(tx, study) if kind == "trial" else None
    granted = attempts.begin(tx, study.uuid, kind, number, asker, n_past=n_past, reserved_seconds=seconds)
    return _assignment(tx, study, granted)


def _assignment(tx: Transaction, study: StudyRow, held: Lease) -> Assignment:
    tx.lease_cache.put(held.lease_id, study.study_id)
    tx.after_commit.append(partial(log.debug, "leased", extra=lease_fields(study, held)))
    common: dict[str, Any] = {
        "lease_id": held.lease_id,
        "token": held.token,
        "expires_at": held.expires_at,
        "attempt": held.attempt,
        "study": study.name,
        "study_id": study.uuid,
        "spec": study.spec,
    }
    if held.kind == "prepare":
        return PrepareAssignment(**common)
    trial = trials.find(tx, study, held.number)
    assert trial is not None
    assert study.facts is not None
    common |= {"number": held.number, "params": trial_params(study.spec, trial.params), "facts": study.facts}
    if held.kind == "small":
        assert study.spec.start_small is not None
        fraction = study.spec.start_small.fraction
        return SmallAssignment(**common, fraction=fraction, seconds_left=seconds_left(tx, study, held))
    if held.kind == "score":
        return ScoreAssignment(**common, model_files=artifacts.kept_models(tx, study.uuid)[held.number].files)
    return TrialAssignment(**common, seconds_left=seconds_left(tx, study, held), resume=attempts.resume_of(tx, held))
