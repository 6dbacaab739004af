"""The protocol between workers and the service, version 1: the bodies that one sends to the other.

A worker registers, asks for work (dispatch), and gets assignments, each under a lease: the right to write to one trial
for a while. It renews leases by heartbeats, reports evaluations, and at the end tells the outcome or releases the
lease. A lease's token travels in the header ``Lease-Token`` or, in batches, in the body.

What assignments say is in `assignments.py`, what their outcomes say in `outcomes.py`.
"""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from spezia.contract.assignments import Assignment
from spezia.contract.evaluation import Metrics, Step
from spezia.contract.outcomes import TrialSpeed
from spezia.contract.parquet_head import HeadToRead
from spezia.contract.problem import Code
from spezia.contract.wire import MAX_EXACT, Count, Identifier, Reply, Text, Wire

PROTOCOL = 1
"""Version of the protocol; the service refuses workers of an older one."""

MAX_WAIT_SECONDS = 30.0
"""Longest time in seconds that a request for work may wait for some."""

MAX_CHECKPOINTS = 64
"""Largest number of checkpoints that a worker may offer."""

TOKEN_HEADER = "Lease-Token"
"""Header of the lease's token, in calls about one lease."""

DeviceKind = Literal["cpu", "cuda", "mps"]
"""Kinds of device, as torch names them."""


class Device(Wire):
    """A device that a worker trains on."""

    kind: DeviceKind
    """Kind of device, as torch names it."""
    name: Text
    """Name of the device, such as ``NVIDIA H100``."""
    memory_bytes: Count
    """Memory of the device in bytes."""
    bf16: bool
    """Whether the device computes in bf16 by itself."""


class WorkerRegistration(Wire):
    """What a worker says about itself when it starts."""

    worker_id: Identifier
    """Random id of the worker's process, new for each process."""
    host: Text
    """Name of the worker's machine."""
    device: Device
    """Device that the worker trains on."""
    versions: Annotated[dict[str, str], Field(max_length=32)]
    """Versions of Python and of the libraries that the worker trains with, by name."""
    protocol: Count
    """Version of the protocol that the worker speaks."""


class WorkerTerms(Reply):
    """What the service expects of a registered worker."""

    heartbeat_seconds: float
    """Seconds from one heartbeat to the next."""
    lease_seconds: float
    """Seconds without a heartbeat or report after which a lease may be taken back."""


class HeldCheckpoint(Wire):
    """A checkpoint within the worker's reach, from which it could resume an interrupted or paused trial."""

    study_id: Identifier
    """Id of the trial's study."""
    number: Count
    """Number of the trial within its study, from 0."""
    attempt: Annotated[int, Field(ge=1, le=2**31 - 1)]
    """Number of the attempt that wrote the checkpoint, from 1."""
    step: Annotated[int, Field(ge=0, le=2**31 - 1)]
    """Step of the trial's last evaluation when the checkpoint was written; 0: it had made none."""


class DispatchRequest(Wire):
    """A worker's request for work."""

    checkpoints: Annotated[list[HeldCheckpoint], Field(max_length=MAX_CHECKPOINTS)] = []
    """Checkpoints on the worker's disk; a waiting trial resumes from one of them if all its reports up to there have
    arrived."""
    slots: Annotated[int, Field(ge=1, le=64)] = 1
    """Number of assignments that the worker can carry out at once."""
    wait_seconds: Annotated[float, Field(ge=0, le=MAX_WAIT_SECONDS)] = 0.0
    """Seconds to wait for work where there is none yet."""


class Dispatch(Reply):
    """The assignments that a request for work is answered with."""

    assignments: list[Assignment]
    """Assignments for the worker, all of one study; empty where there is no work."""
    to_read: HeadToRead | None = None
    """Parquet file of which the worker is to read the beginning before it asks again, instead of assignments; what it
    finds goes to ``/v1/workers/{worker_id}/heads/{sha256}``. Null: there is none."""


class HeldLease(Wire):
    """A lease that a worker holds, with its secret."""

    lease_id: Identifier
    """Id of the lease."""
    token: Identifier
    """Secret of the lease, as it came with the assignment."""


class HeartbeatRequest(Wire):
    """A worker's heartbeat, which renews its leases."""

    leases: Annotated[list[HeldLease], Field(max_length=64)]
    """Leases that the worker still holds."""


Directive = Literal["continue", "pause", "cancel", "lost"]
"""What the holder of a lease is to do: go on; save a checkpoint and give the trial back, for now; end the assignment
now and tell what it has; or drop everything, because the lease is no longer its own."""


class LeaseStatus(Reply):
    """The answer to a heartbeat for one lease."""

    lease_id: str
    """Id of the lease."""
    directive: Directive
    """What to do: ``continue``; ``cancel``: end the assignment now and tell what there is; ``lost``: the lease is no
    longer yours, so drop everything."""
    expires_at: datetime | None
    """Time at which the lease may be taken back, unless it is renewed again; null where it is lost."""


class WantedCheckpoint(Reply):
    """A checkpoint of a paused trial that another worker waits for, while the worker that holds it is busy; it may be
    uploaded to ``/v1/leases/{lease_id}/checkpoint``."""

    lease_id: str
    """Id of the lease under which the checkpoint was written, which has ended."""
    token: str
    """Secret of the upload, to be sent in the header ``Lease-Token``."""
    study_id: str
    """Id of the trial's study."""
    number: int
    """Number of the trial within its study, from 0."""
    attempt: int
    """Number of the attempt that wrote the checkpoint, from 1."""
    step: int
    """Step of the trial's last evaluation when the checkpoint was written."""
    max_bytes: int
    """Bytes that the service has room for; a larger checkpoint is refused."""
    within_seconds: float
    """Seconds that the upload may take: after that nobody waits for it any more, or to train again is as quick."""


class HeartbeatReply(Reply):
    """The answer to a heartbeat."""

    leases: list[LeaseStatus]
    """One status for each lease of the request, in the same order."""
    checkpoints: list[WantedCheckpoint] = []
    """Checkpoints that the worker holds and others wait for. Whoever does not send them does no harm."""


class Report(HeldLease):
    """One evaluation of a trial on the validation split, under the trial's lease."""

    step: Step
    """Step of the evaluation within the trial, from 1; where every step is evaluated, the number of the evaluation."""
    epoch: Annotated[float, Field(gt=0)]
    """Epochs that the trial has trained."""
    optimizer_steps: Annotated[int, Field(ge=1, le=MAX_EXACT)]
    """Optimizer steps that the trial has made."""
    value: float
    """Value of the first objective."""
    metrics: Metrics
    """Metrics of the evaluation by name; those of the study's objectives and constraints must be among them."""
    final: bool
    """Whether the trial ends with this evaluation; a final evaluation is never pruned."""
    partial: bool = False
    """Whether the value and the metrics tell of a part of the validation rows, as the assignment has asked for at this
    step; never of a final evaluation."""


class ReportRequest(Wire):
    """Evaluations of one or more trials."""

    reports: Annotated[list[Report], Field(min_length=1, max_length=1_000, fail_fast=True)]
    """Evaluations in the order in which they were made."""


class Refusal(Reply):
    """The reason why one report of several is refused, as a problem document of its own would say it."""

    status: int
    """HTTP status that the report would have had alone."""
    code: Code
    """Code of the problem, for programs."""
    detail: str
    """What happened, and what to do next."""


class ReportReply(Reply):
    """The answer to one report."""

    lease_id: str
    """Id of the lease."""
    step: Count
    """Number of the evaluation within the trial, from 1."""
    directive: Directive
    """What to do: ``continue``; ``pause``: save a checkpoint of exactly this evaluation, as one told to stop does, and
    release the lease as ``paused``; ``cancel``: end the trial now and tell what there is; ``lost``: the lease is no
    longer yours, so drop everything. A trial that is to pause stays so: later reports of it are answered alike."""
    should_prune: bool
    """Whether the pruner ends the trial at this evaluation."""
    reason: str | None
    """Reason why the pruner ends the trial; null otherwise."""
    keep_model: bool
    """Whether to upload the model of the best evaluation before telling the outcome, because it is among the study's
    best ``keep_models``."""
    refusal: Refusal | None = None
    """Reason why nothing of this report is stored; null where it is accepted. Where all reports of a request are
    refused, the request itself is answered as the first one would be alone."""


class ReportReplies(Reply):
    """The answer to a batch of reports."""

    replies: list[ReportReply]
    """One reply for each report of the request, in the same order."""


ReleaseReason = Literal["preempted", "paused", "bystander", "disk_full", "checkpoint_lost"]
"""Reasons for which a worker gives an assignment back."""


class Release(Wire):
    """A worker's notice that it gives an assignment back, which does not count as an attempt that failed."""

    reason: ReleaseReason
    """Reason for giving the assignment back.

    - ``preempted``: the worker was told to stop.
    - ``paused``: the answer to a report was ``pause``; the checkpoint, if there is one, is of that evaluation.
    - ``bystander``: another trial has broken the worker's process.
    - ``disk_full``: the worker's disk is full.
    - ``checkpoint_lost``: the checkpoint cannot be read, so the trial must start from the beginning.
    """
    has_checkpoint: bool = True
    """Whether the worker offers a checkpoint of the trial from now on; where it does not, a paused trial that may go on
    waits for no worker in particular."""
    speed: TrialSpeed | None = None
    """What was measured of the speed of a paused trial, should it never go on; absent where nothing was."""


class Told(Reply):
    """Confirmation that an outcome is accepted."""

    replayed: bool
    """Whether the same outcome had been accepted before, so that nothing has changed now."""
