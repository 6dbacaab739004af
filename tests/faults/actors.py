"""Workers as generators: each yields what it asks of the service and is sent the reply, or ``None`` for silence.

A worker insists, as the real one does (`trainer/supervisor/retry.py`), and drops what it is told it has lost.
"""

import random
from collections.abc import Callable, Generator, Sequence
from functools import partial
from typing import Any

from service.lifecycle.checkpoints.find_checkpoint import find_checkpoint
from service.lifecycle.checkpoints.upload_checkpoint import begin_checkpoint, upload_checkpoint
from service.lifecycle.leases.dispatch import dispatch
from service.lifecycle.leases.heartbeat import heartbeat
from service.lifecycle.leases.release import release
from service.lifecycle.leases.report import report
from service.lifecycle.leases.tell import tell
from service.lifecycle.models.upload_model_file import begin_model_file, upload_model_file
from service.lifecycle.workers.register_worker import register_worker
from spezia.contract.assignments import Assignment, TrialAssignment
from spezia.contract.facts import Facts
from spezia.contract.failure import Failure
from spezia.contract.outcomes import (
    ConfirmOutcome,
    Outcome,
    PreparedOutcome,
    ProbeOutcome,
    ScoreOutcome,
    TrialOutcome,
    TrialSpeed,
)
from spezia.contract.protocol import (
    Device,
    HeldCheckpoint,
    HeldLease,
    Release,
    ReleaseReason,
    Report,
    ReportReply,
    WantedCheckpoint,
    WorkerRegistration,
)
from tests.faults.world import Request, Service
from tests.service.hand_worker import FACTS

Life = Generator[Request, Any, None]
MODEL = b"weights"
MAX_BYTES = 1 << 20
SECONDS_PER_EPOCH = 1000.0
"""Long enough for a checkpoint to be worth sending."""
N_STEPS = 2
DEVICE = Device(kind="cpu", name="simulated", memory_bytes=0, bf16=False)
STEADY = random.Random(0)
"""For what is told by hand."""


def worker(worker_id: str, chance: random.Random, hold: Callable[[HeldLease | None], None]) -> Life:
    """Work for ever. ``hold`` hears what the worker would renew."""
    yield from insist(registering(worker_id))
    checkpoints: list[HeldCheckpoint] = []
    while True:
        found = yield from insist(asking(worker_id, checkpoints=checkpoints))
        for assignment in found:
            hold(held_by(assignment))
            yield from carry_out(assignment, chance, checkpoints)
            hold(None)


def carry_out(
    assignment: Assignment, chance: random.Random, checkpoints: list[HeldCheckpoint]
) -> Generator[Request, Any, None]:
    """Run one assignment to its end, to a pause, or until it is lost; a pause adds to ``checkpoints``."""
    if chance.random() < 0.07:
        yield from insist(releasing(assignment))
        return
    if isinstance(assignment, TrialAssignment) and assignment.resume is not None and assignment.resume.sent is not None:
        resume = assignment.resume
        found = yield from insist(fetching(assignment))
        if not isinstance(found, bytes) or chance.random() < 0.2:
            yield from insist(releasing(assignment, "checkpoint_lost"))
            return
        assert found == checkpoint_of(assignment.number, resume.attempt)
        checkpoints.append(
            HeldCheckpoint(
                study_id=assignment.study_id, number=assignment.number, attempt=resume.attempt, step=resume.step
            )
        )
    outcome = yield from outcome_of(assignment, chance)
    if isinstance(outcome, TrialOutcome) and outcome.state == "PRUNED" and chance.random() < 0.3:
        # a careless worker, who has to be refused
        yield from insist(telling(assignment, outcome.model_copy(update={"state": "COMPLETE"})))
    if isinstance(outcome, HeldCheckpoint):
        if chance.random() < 0.3:
            # another careless worker
            yield from insist(telling(assignment, result("trial", chance)))
        is_saved = chance.random() < 0.7
        if is_saved:
            checkpoints.append(outcome)
        yield from insist(releasing(assignment, "paused", has_checkpoint=is_saved))
    elif outcome is not None:
        yield from insist(telling(assignment, outcome))


def outcome_of(
    assignment: Assignment, chance: random.Random
) -> Generator[Request, Any, Outcome | HeldCheckpoint | None]:
    """What to tell; a checkpoint: the trial pauses there; ``None``: nothing, as it is lost."""
    if not isinstance(assignment, TrialAssignment):
        return result(assignment.kind, chance)
    should_keep = False
    done = assignment.resume.step if assignment.resume else 0
    steps = assignment.evaluate_at or range(1, N_STEPS + 1)
    for step in (one for one in steps if one > done):
        replies = yield from insist(reporting(assignment, step, chance.random(), final=step == steps[-1]))
        if not isinstance(replies, list) or replies[0].directive == "lost":
            return None
        answer: ReportReply = replies[0]
        if answer.should_prune:
            return result("trial", chance, is_pruned=True)
        if answer.directive == "cancel":
            return result("trial", chance, failure_class="cancelled")
        if answer.directive == "pause":
            return HeldCheckpoint(
                study_id=assignment.study_id, number=assignment.number, attempt=assignment.attempt, step=step
            )
        should_keep = answer.keep_model
    if chance.random() < 0.1:
        return result("trial", chance, failure_class=chance.choice(["exception", "device_error"]))
    if should_keep:
        yield from insist(uploading(assignment, "model.bin"))
    return result("trial", chance)


def result(kind: str, chance: random.Random, *, is_pruned: bool = False, failure_class: str | None = None) -> Outcome:
    if kind == "prepare":
        # what is told by hand is followed by trials alone
        share = 1.0 if chance is STEADY else chance.random()
        facts = Facts(**FACTS, awaits_similarity=share < 0.5, awaits_step_times=share < 0.25)
        return PreparedOutcome(kind="prepare", facts=facts, device_seconds=1.0)
    if kind == "probe":
        return ProbeOutcome(kind="probe", device_seconds=1.0)
    if kind == "confirm":
        if chance.random() < 0.1:
            failure = Failure(failure_class="diverged", message="it broke")
            return ConfirmOutcome(kind="confirm", failure=failure, device_seconds=1.0)
        return ConfirmOutcome(kind="confirm", metrics={"validation_loss": chance.random()}, device_seconds=1.0)
    if kind == "score":
        return ScoreOutcome(kind="score", metrics={"test_loss": chance.random()}, device_seconds=1.0)
    if failure_class is not None:
        failure = Failure.model_validate({"failure_class": failure_class, "message": "it broke"})
        return TrialOutcome(kind="trial", state="FAIL", failure=failure, device_seconds=1.0)
    return TrialOutcome(kind="trial", state="PRUNED" if is_pruned else "COMPLETE", device_seconds=1.0)


def insist(request: Request) -> Generator[Request, Any, Any]:
    """Ask until there is an answer."""
    while (reply := (yield request)) is None:
        pass
    return reply


def registering(worker_id: str) -> Request:
    registration = WorkerRegistration(worker_id=worker_id, host="here", device=DEVICE, versions={}, protocol=1)
    return Request("register", lambda service: register_worker(service.store, registration))


def asking(
    worker_id: str, slots: int = 1, *, hands_out_again: bool = True, checkpoints: Sequence[HeldCheckpoint] = ()
) -> Request:
    offered = tuple(checkpoints)

    def call(service: Service) -> Any:
        found = dispatch(service.store, service.proposer, worker_id, slots, offered, hands_out_again=hands_out_again)
        return found.assignments

    return Request("dispatch", call)


def beating(held: HeldLease) -> Request:
    return _of(held, "heartbeat", lambda service: heartbeat(service.store, [held], MAX_BYTES))


def held_by(assignment: Assignment) -> HeldLease:
    return HeldLease(lease_id=assignment.lease_id, token=assignment.token)


def reporting(held: Assignment, step: int, value: float, *, final: bool) -> Request:
    one = Report(
        lease_id=held.lease_id,
        token=held.token,
        step=step,
        epoch=float(step),
        optimizer_steps=10 * step,
        value=value,
        metrics={},
        final=final,
        partial=isinstance(held, TrialAssignment) and step in held.partial_at,
    )
    return _of(held, "report", lambda service: report(service.store, [one]))


def telling(held: Assignment, outcome: Outcome) -> Request:
    def call(service: Service) -> Any:
        return tell(service.store, service.proposer, service.files, held.lease_id, held.token, outcome)

    return _of(held, "tell", call)


def releasing(held: Assignment, reason: ReleaseReason = "preempted", *, has_checkpoint: bool = True) -> Request:
    speed = TrialSpeed(seconds_per_epoch=SECONDS_PER_EPOCH) if reason == "paused" else None
    released = Release(reason=reason, has_checkpoint=has_checkpoint, speed=speed)
    call = partial(_release, lease_id=held.lease_id, token=held.token, released=released)
    return _of(held, "release", call)


def uploading(held: Assignment, file: str) -> Request:
    def call(service: Service) -> Any:
        upload = begin_model_file(service.store, service.files, MAX_BYTES, held.lease_id, held.token)
        try:
            upload.write(MODEL)
            upload_model_file(service.store, service.files, upload, held.lease_id, held.token, file)
        finally:
            upload.discard()
        return "stored"

    return _of(held, "upload", call)


def sending(wanted: WantedCheckpoint) -> Request:
    """Upload a checkpoint for which a heartbeat has asked; its lease has ended."""

    def call(service: Service) -> Any:
        which = (wanted.lease_id, wanted.token)
        upload = begin_checkpoint(service.store, service.files, MAX_BYTES, *which)
        try:
            upload.write(checkpoint_of(wanted.number, wanted.attempt))
            upload_checkpoint(service.store, service.files, upload, MAX_BYTES, *which)
        finally:
            upload.discard()
        return "sent"

    return Request("checkpoint", call)


def fetching(held: TrialAssignment) -> Request:
    def call(service: Service) -> Any:
        with service.files.reading(find_checkpoint(service.store, service.files, held.lease_id, held.token)) as pieces:
            return b"".join(pieces)

    return _of(held, "fetch", call)


def checkpoint_of(number: int, attempt: int) -> bytes:
    """What an attempt at a trial has saved."""
    return f"trial {number}, attempt {attempt}".encode()


def _release(service: Service, lease_id: str, token: str, released: Release) -> str:
    release(service.store, lease_id, token, released)
    return "released"


def _of(held: HeldLease | Assignment, verb: str, call: Callable[[Service], Any]) -> Request:
    return Request(verb, call, held.lease_id, held.token)
