"""Make an assignment from the lease under which it is carried out."""

import logging
from functools import partial
from typing import Any

from service.lifecycle.leases.lease_fields import lease_fields
from service.lifecycle.replays.recorded_run import recorded_run
from service.lifecycle.studies.budgets import seconds_left
from service.search.pruning.rungs import partial_steps, steps_to_evaluate
from service.search.space.params import trial_params
from service.store import artifacts, attempts, confirm_runs, sent_checkpoints, trials
from service.store.leases import Lease
from service.store.studies import StudyRow
from service.store.transaction import Transaction
from spezia.contract.assignments import (
    Assignment,
    ConfirmAssignment,
    PrepareAssignment,
    ProbeAssignment,
    ReplayAssignment,
    Resume,
    ScoreAssignment,
    SentCheckpoint,
    SmallAssignment,
    TrialAssignment,
)

log = logging.getLogger(__name__)


def assignment_of(tx: Transaction, study: StudyRow, held: Lease) -> Assignment:
    """Return what the holder of a new lease, or of one that is handed out again, is to do."""
    tx.caches.leases.put(held.lease_id, study.study_id)
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
    assert study.facts is not None
    if held.kind == "probe":
        return ProbeAssignment(**common, facts=study.facts)
    trial = trials.find(tx, study, held.trial_number)
    assert trial is not None
    common |= {"number": trial.number, "params": trial_params(study.spec, trial.params), "facts": study.facts}
    if held.kind == "small":
        assert study.spec.start_small is not None
        fraction = study.spec.start_small.fraction
        return SmallAssignment(**common, fraction=fraction, seconds_left=seconds_left(tx, study, held))
    if held.kind == "replay":
        recorded = recorded_run(tx, study, trial)
        return ReplayAssignment(
            **common,
            evaluate_at=recorded.evaluate_at,
            partial_at=recorded.partial_at,
            last_step=recorded.last_step,
        )
    if held.kind == "score":
        model = artifacts.kept_models(tx, study.uuid)[held.number]
        return ScoreAssignment(**common, model_files=[file.name for file in model.files])
    common["seconds_left"] = seconds_left(tx, study, held)
    evaluate_at = steps_to_evaluate(study.spec, common["params"], study.facts)
    partial_at = partial_steps(study.spec, common["params"], study.facts)
    if held.kind == "confirm":
        _, fresh_seed = confirm_runs.run_of(held.number)
        whole = None if evaluate_at is None else [step for step in evaluate_at if step not in partial_at]
        return ConfirmAssignment(**common, evaluate_at=whole, fresh_seed=fresh_seed)
    return TrialAssignment(**common, evaluate_at=evaluate_at, partial_at=partial_at, resume=_resume(tx, study, held))


def _resume(tx: Transaction, study: StudyRow, held: Lease) -> Resume | None:
    """Return what a trial goes on from, and what is to be fetched for that unless its worker has it."""
    resume = attempts.resume_of(tx, held)
    sent = None if resume is None else sent_checkpoints.come_of(tx, study.uuid, held.number, resume.attempt)
    if resume is None or sent is None or sent.size_bytes is None or sent.sha256 is None:
        return resume
    return resume.model_copy(update={"sent": SentCheckpoint(size_bytes=sent.size_bytes, sha256=sent.sha256)})
