"""Hand work to a worker, under a lease (POST /v1/workers/{id}/dispatch).

A worker gets its own unfinished assignments first, then the head of a Parquet file or a replay, for which a person
waits, then the next step of the study with the fewest live leases. A look that finds nothing has written nothing. A
new trial's params are proposed outside any lock; the transaction that writes it checks that the study has not moved on
meanwhile, as when another service has got in between, and if it has, the proposal is made again at once, under the
lock: whoever went to make it outside would be too late again and again.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from service.errors import WorkerUnknown
from service.failpoints import failpoint
from service.lease_and_heartbeat_terms import HEARTBEAT_SECONDS
from service.lifecycle.confirmation.start_run import runs_left, start_run
from service.lifecycle.confirmation.winner import confirmed_leaders
from service.lifecycle.leases.ask_for_checkpoint import ask_for_checkpoint, missing_checkpoint
from service.lifecycle.leases.assignment_of import assignment_of
from service.lifecycle.leases.choose_waiting import choose_waiting
from service.lifecycle.leases.next_promotion import next_promotion
from service.lifecycle.leases.next_step import next_step
from service.lifecycle.leases.propose_next import Next, next_request, propose_ahead, propose_locked, propose_next
from service.lifecycle.leases.start_waiting_trial import start_waiting_trial
from service.lifecycle.leases.work_request import WorkRequest
from service.lifecycle.pilots.start_pilot import start_pilot
from service.lifecycle.replays.start_replay import start_replay
from service.lifecycle.studies.device_budget import seconds_to_reserve
from service.lifecycle.studies.state_machine import begin_stopping, drop_score, settle
from service.lifecycle.trials.add_proposed import add_proposed
from service.lifecycle.trials.fill_in_enqueued import fill_in_enqueued
from service.search.propose.proposer import Proposer
from service.search.pruning.rungs import rung_steps
from service.search.space.params import trial_params
from service.store import (
    artifacts,
    attempts,
    leases,
    parquet_heads,
    replays,
    studies,
    trials,
    workers,
)
from service.store.store import Store
from service.store.studies import StudyRow
from service.store.transaction import Transaction
from service.store.work import studies_with_work
from spezia.common.plural import plural
from spezia.contract.assignments import Assignment
from spezia.contract.parquet_head import HeadToRead
from spezia.contract.protocol import HeldCheckpoint
from spezia.contract.pruners import RungsPruner

log = logging.getLogger(__name__)

MAX_AGAIN = 20
"""How often one dispatch looks at a study anew because that has moved on meanwhile. It does so a few times when many
workers ask at once; more often only by a mistake of ours, which must not hold a thread and the lock for ever."""

SEEN = timedelta(seconds=HEARTBEAT_SECONDS)
"""How often it is noted that a worker which waits for work is there."""


@dataclass(frozen=True)
class Found:
    """What a look for work has found."""

    assignments: list[Assignment]
    """Work for the worker, all of one study."""
    is_left: bool
    """Whether there may be work for others: more of this, or what this worker may not take."""
    to_read: HeadToRead | None = None
    """A Parquet file whose beginning the worker is to read, instead of assignments."""

    @property
    def has_work(self) -> bool:
        """Whether there is work for the worker."""
        return bool(self.assignments) or self.to_read is not None


NOTHING = Found([], is_left=False)
NOT_FOR_THIS_WORKER = Found([], is_left=True)


@dataclass(frozen=True)
class _Seen:
    """A study that has work, as it was before its lock was taken."""

    proposed: Next | None
    """The new trial that it would run, if that is its work."""


def dispatch(
    store: Store,
    proposer: Proposer,
    worker_id: str,
    slots: int,
    checkpoints: Sequence[HeldCheckpoint] = (),
    *,
    hands_out_again: bool = True,
) -> Found:
    """Find up to ``slots`` assignments of one study, or a file to read; nothing to do now costs no write.

    Args:
        checkpoints: Checkpoints of trials that the worker holds, to go on from.
        hands_out_again: Whether a worker that holds leases gets them again. Not for a look of a request that has
            waited: what its worker holds now was granted to a newer request, whose token must stay good.

    Raises:
        WorkerUnknown: The worker is not registered.
    """
    with store.reading() as tx:
        tx.expect_now()
        worker, own, to_read, to_replay, in_turn = tx.ask(
            workers.find(worker_id),
            leases.of_worker(worker_id),
            parquet_heads.waiting(tx.about_now),
            replays.waiting(),
            studies_with_work(tx.about_now),
        )
        if worker is None:
            raise WorkerUnknown
        is_due = tx.now - worker.last_seen_at >= SEEN
        asker = WorkRequest(
            worker_id,
            str(worker.device["name"])[:256],
            str(worker.device["kind"]),
            worker.versions,
            bool(worker.device["bf16"]),
            checkpoints,
        )
    if is_due:
        with store.writing() as tx:
            workers.see(tx, worker_id)
    if own and not hands_out_again:
        return NOTHING
    if own and (again := _hand_out_again(store, own[0].study_uuid, worker_id, slots)):
        return Found(again, is_left=False)
    if to_read is not None and _claim_head(store, to_read):
        return Found([], is_left=True, to_read=HeadToRead(sha256=to_read))
    for study_id, number in to_replay:
        if (granted := _grant_replay(store, study_id, number, asker)) is not None:
            return Found([granted], is_left=True)
    is_left = bool(to_replay)
    for study_id, study_uuid in in_turn:
        found = _from_study(store, proposer, study_id, study_uuid, asker, slots)
        if found.assignments:
            return found
        is_left = is_left or found.is_left
    return NOT_FOR_THIS_WORKER if is_left else NOTHING


def _hand_out_again(store: Store, study_uuid: str, worker_id: str, slots: int) -> list[Assignment]:
    with store.writing() as tx:
        study = studies.lock_by_uuid(tx, study_uuid)
        if study is None:
            return []
        again = [assignment_of(tx, study, held) for held in leases.hand_out_again(tx, study_uuid, worker_id, slots)]
        failpoint("dispatch.before_hand_out")
    failpoint("dispatch.after_hand_out")
    return again


def _claim_head(store: Store, sha256: str) -> bool:
    with store.writing() as tx:
        return parquet_heads.claim(tx, sha256)


def _grant_replay(store: Store, study_id: int, number: int, asker: WorkRequest) -> Assignment | None:
    """Hand out a replay; ``None``: this worker cannot keep its precision, or another one was faster."""
    with store.reading() as tx:
        seen = tx.ask(studies.by_id(tx.caches.studies, study_id))
    if seen is None or not _keeps_precision(seen, asker):
        return None
    with store.writing() as tx:
        study = studies.lock_by_id(tx, study_id)
        if study is None:
            return None
        granted = start_replay(tx, study, number, asker)
        return None if granted is None else assignment_of(tx, study, granted)


def _keeps_precision(study: StudyRow, asker: WorkRequest) -> bool:
    """Whether a worker computes in the format that is pinned for the study; else its trials would not compare."""
    return asker.has_bf16 or study.facts is None or study.facts.precision != "bf16"


def _from_study(
    store: Store, proposer: Proposer, study_id: int, study_uuid: str, asker: WorkRequest, slots: int
) -> Found:
    assignments: list[Assignment] = []
    nothing = NOTHING
    n_again = 0
    with proposer.turn(study_uuid):
        while len(assignments) < slots and n_again < MAX_AGAIN:
            seen = _look(store, proposer, study_id, asker)
            if isinstance(seen, Found):
                nothing = seen
                break
            failpoint("dispatch.after_propose")
            with store.writing() as tx:
                study = studies.lock_by_id(tx, study_id)
                granted = None if study is None else _grant_next(tx, study, seen.proposed, asker, proposer)
                failpoint("dispatch.before_commit")
            failpoint("dispatch.after_commit")
            if granted == "again":
                n_again += 1
                continue
            if granted is None:
                break
            n_again = 0
            assignments.append(granted)
        if n_again == MAX_AGAIN:
            _complain(store, study_id)
        if assignments:
            propose_ahead(store, proposer, assignments[-1])
    return Found(assignments, is_left=True) if assignments else nothing


def _look(store: Store, proposer: Proposer, study_id: int, asker: WorkRequest) -> _Seen | Found:
    """See whether a study has work, and propose its next trial if that is it; else say whether others may take it."""
    with store.reading() as tx:
        study, attrs, _ = tx.ask(
            studies.by_id(tx.caches.studies, study_id),
            tx.trials.study_system_attrs(study_id),
            tx.trials.loading(study_id),
        )
        if study is None:
            return NOTHING
        is_able = _keeps_precision(study, asker)
        step = next_step(tx, study, asker)
        lacks_checkpoint = is_able and step != "promotion" and missing_checkpoint(tx, study, asker) is not None
        request = next_request(tx, study, attrs) if is_able and step == "new trial" else None
    if lacks_checkpoint:
        ask_for_checkpoint(store, study_id, asker)
    if step is None:
        return NOTHING
    if not is_able:
        return NOT_FOR_THIS_WORKER
    if request is None:
        return _Seen(None)
    proposed = propose_next(store, proposer, study.uuid, request)
    return NOTHING if proposed is None else _Seen(proposed)


def _complain(store: Store, study_id: int) -> None:
    """Log what a study looks like of which a dispatch could make nothing; its worker asks again soon."""
    with store.reading() as tx:
        study, _ = tx.ask(studies.by_id(tx.caches.studies, study_id), tx.trials.loading(study_id))
        if study is None:
            return
        seen = (
            f"{study.state}, {trials.counts(tx, study)} of {plural(study.spec.n_trials, 'trial')}, "
            f"next: {next_step(tx, study, None)}"
        )
    log.error("gave out nothing of study %s, looked at %d times in a row: %s", study.name, MAX_AGAIN, seen)


def _grant_next(
    tx: Transaction, study: StudyRow, proposed: Next | None, asker: WorkRequest, proposer: Proposer
) -> Assignment | Literal["again"] | None:
    step = next_step(tx, study, asker)
    if step in ("pilot", "waiting trial") and not fill_in_enqueued(tx, proposer, study):
        settle(tx, study)
        return "again"
    match step:
        case "prepare":
            n_past = attempts.count(tx, study.uuid, "prepare", 0)
            return assignment_of(tx, study, attempts.begin(tx, study.uuid, "prepare", 0, asker, n_past=n_past))
        case "probe":
            n_past = attempts.count(tx, study.uuid, "probe", 0)
            return assignment_of(tx, study, attempts.begin(tx, study.uuid, "probe", 0, asker, n_past=n_past))
        case "settle":
            settle(tx, study)
            return "again"
        case "pilot":
            return assignment_of(tx, study, start_pilot(tx, study, asker))
        case "promotion":
            return _grant_promotion(tx, study, asker)
        case "waiting trial":
            number = choose_waiting(tx, study, asker.held(study.uuid))
            waiting = start_waiting_trial(tx, study, asker, number)
            return None if waiting is None else assignment_of(tx, drop_score(tx, study), waiting)
        case "new trial":
            if proposed is None or proposed.number != trials.counts(tx, study).n_total:
                proposed = propose_locked(tx, proposer, study)
            return "again" if proposed is None else _grant_proposed(tx, study, proposed, asker)
        case "confirm":
            return _grant_confirm(tx, study, asker)
        case "score":
            return _grant_score(tx, study, asker)
        case None:
            return None


def _grant_promotion(tx: Transaction, study: StudyRow, asker: WorkRequest) -> Assignment | None:
    promotion = next_promotion(tx, study, asker)
    assert promotion is not None
    granted = start_waiting_trial(tx, study, asker, promotion.number)
    return None if granted is None else assignment_of(tx, drop_score(tx, study), granted)


def _grant_proposed(
    tx: Transaction, study: StudyRow, proposed: Next, asker: WorkRequest
) -> Assignment | Literal["again"] | None:
    proposal = proposed.proposal
    if proposal is None:
        # a grid has visited every point: the study ends when its running trials have, and those that pause at rungs
        if isinstance(study.spec.pruner, RungsPruner):
            n_points = trials.counts(tx, study).n_total
            settle(tx, studies.change_spec(tx, study, study.spec.model_copy(update={"n_trials": n_points})))
            return "again"
        settle(tx, begin_stopping(tx, study, "complete"))
        return "again"
    params = trial_params(study.spec, proposal.params)
    seconds = seconds_to_reserve(tx, study, params, until_step=next(iter(rung_steps(study.spec, params)), None))
    if seconds == 0:
        return None
    trial = add_proposed(tx, study, "RUNNING", proposal, {})
    granted = attempts.begin(tx, study.uuid, "trial", trial.number, asker, n_past=0, reserved_seconds=seconds)
    return assignment_of(tx, drop_score(tx, study), granted)


def _grant_confirm(tx: Transaction, study: StudyRow, asker: WorkRequest) -> Assignment | None:
    left = runs_left(tx, study)
    trial = trials.find(tx, study, left[0][0])
    assert trial is not None
    seconds = seconds_to_reserve(tx, study, trial_params(study.spec, trial.params), n_left=len(left))
    if seconds == 0:
        return None
    return assignment_of(tx, study, start_run(tx, study, left[0], asker, seconds))


def _grant_score(tx: Transaction, study: StudyRow, asker: WorkRequest) -> Assignment | None:
    (best,) = confirmed_leaders(tx, study)
    if best.number not in artifacts.kept_models(tx, study.uuid):
        warning = "the winner was not scored on the test split: no model was kept (training.keep_models)"
        settle(tx, studies.change(tx, study, is_scored=True, warnings=[*study.warnings, warning]))
        return None
    n_past = attempts.count(tx, study.uuid, "score", best.number)
    return assignment_of(tx, study, attempts.begin(tx, study.uuid, "score", best.number, asker, n_past=n_past))
