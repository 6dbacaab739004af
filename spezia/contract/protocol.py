"""The protocol between workers and the service: every body that one sends to the other. This is version 1.

A worker registers, asks for work (dispatch), and gets assignments, each under a lease: the right to write to one trial
for a while. It renews leases by heartbeats, reports evaluations, and at the end tells the outcome or releases the
lease. A lease's token travels in the header ``Lease-Token`` or, in batches, in the body.
"""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from spezia.contract.confirm import MAX_ROW_SCORES
from spezia.contract.facts import Facts, Similarity
from spezia.contract.failure import Failure
from spezia.contract.parquet_head import HeadToRead
from spezia.contract.problem import Code
from spezia.contract.step_times import StepTimes
from spezia.contract.study_spec import CheckedSpec, Params
from spezia.contract.wire import MAX_EXACT, Count, Identifier, Reply, Text, Wire

PROTOCOL = 1
"""Version of the protocol; the service refuses workers of an older one."""

MAX_REPLAYED = 1_000
"""Largest number of evaluations that a replay compares: the first ones of a trial that has made more."""

MAX_WAIT_SECONDS = 30.0
"""Longest time in seconds that a request for work may wait for some."""

MAX_CHECKPOINTS = 64
"""Largest number of checkpoints that a worker may offer."""

TOKEN_HEADER = "Lease-Token"
"""Header of the lease's token, in calls about one lease."""

Step = Annotated[int, Field(ge=1, le=2**31 - 1)]
"""Number of an evaluation within its trial, from 1."""

Metrics = Annotated[dict[str, float], Field(max_length=64)]
"""Metrics of an evaluation, by name."""

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


class _Assignment(Reply):
    lease_id: str
    """Id of the lease under which the worker carries out the assignment."""
    token: str
    """Secret of the lease; every write under the lease needs it."""
    expires_at: datetime
    """Time at which the lease may be taken back, unless it is renewed."""
    attempt: Count
    """Number of the attempt at this assignment, from 1."""
    study: str
    """Name of the study."""
    study_id: str
    """Random id of the study, never reused: the key of a worker's caches."""
    spec: CheckedSpec
    """Spec of the study."""


class PrepareAssignment(_Assignment):
    """Check a study's data and model, and tell the facts, before its first trial."""

    kind: Literal["prepare"] = "prepare"
    """Kind of the assignment."""


class SentCheckpoint(Reply):
    """A checkpoint that has come through the service, to be fetched from ``/v1/leases/{lease_id}/checkpoint``."""

    size_bytes: int
    """Size of what is to be fetched, in bytes."""
    sha256: str
    """SHA-256 of what is to be fetched."""


class Resume(Reply):
    """The checkpoint that a trial resumes from, of the asking worker or sent through the service; its next report is of
    the evaluation after ``step``."""

    attempt: int
    """Number of the attempt that wrote the checkpoint, from 1."""
    step: int
    """Step of the trial's last evaluation when the checkpoint was written; 0: it had made none."""
    sent: SentCheckpoint | None = None
    """Checkpoint as it has come through the service, for a worker that lacks it; null: it has not."""


class TrialAssignment(_Assignment):
    """Carry out one trial: train with its params and report its evaluations."""

    kind: Literal["trial"] = "trial"
    """Kind of the assignment."""
    number: Count
    """Number of the trial within its study, from 0."""
    params: Params
    """Params of the trial, searched and fixed ones together."""
    facts: Facts
    """What was found out about data and model when the study was prepared."""
    seconds_left: float | None
    """Seconds that the trial may take before the study's timeout or its share of device seconds is used up; it ends
    itself as ``budget`` then. Null: there is no limit."""
    resume: Resume | None = None
    """Checkpoint that the trial resumes from; null: it starts from the beginning."""
    evaluate_at: list[Step] | None = None
    """Steps at which the trial evaluates and reports, ascending, its last step among them; a step is one
    ``evaluations_per_epoch``-th of an epoch, so a report's ``step`` says how far the trial has come, and those in
    between are left out. Null: the trial evaluates at every step."""
    partial_at: dict[Step, float] = {}
    """Steps of these at which the trial reads only a share of the validation rows, with the share. Its report says so:
    such a value is compared with others of its rung, and never is the trial's."""


class SmallAssignment(_Assignment):
    """Train with a trial's params on a fraction of the training data, and tell only the outcome."""

    kind: Literal["small"] = "small"
    """Kind of the assignment."""
    number: Count
    """Number of the trial whose params these are, from 0."""
    params: Params
    """Params of the trial, searched and fixed ones together."""
    facts: Facts
    """What was found out about data and model when the study was prepared."""
    fraction: float
    """Fraction of the training rows of each class to train on."""
    seconds_left: float | None
    """Seconds that the small run may take before the study's timeout; null: there is no limit."""


class ConfirmAssignment(_Assignment):
    """Train in full with a trial's params under a fresh seed, and tell only the outcome."""

    kind: Literal["confirm"] = "confirm"
    """Kind of the assignment."""
    number: Count
    """Number of the trial whose params these are, from 0."""
    fresh_seed: Count
    """Number of the fresh seed, from 0; head, dropout and the order of the data are drawn by it and by the study's
    seed, as no trial draws them."""
    params: Params
    """Params of the trial, searched and fixed ones together."""
    facts: Facts
    """What was found out about data and model when the study was prepared."""
    seconds_left: float | None
    """Seconds that the run may take before the study's timeout or its share of device seconds is used up; null: there
    is no limit."""
    evaluate_at: list[Step] | None = None
    """Steps at which the run evaluates, ascending: those at which the trial reads all validation rows; null: it
    evaluates at every step."""


class ScoreAssignment(_Assignment):
    """Score the winner's kept model on the test split."""

    kind: Literal["score"] = "score"
    """Kind of the assignment."""
    number: Count
    """Number of the winning trial, from 0."""
    params: Params
    """Params of the winning trial, searched and fixed ones together."""
    facts: Facts
    """What was found out about data and model when the study was prepared."""
    model_files: list[str]
    """Files of the model, to be fetched from ``/v1/leases/{lease_id}/model/{file}``."""


class ReplayAssignment(_Assignment):
    """Run a trial that has ended once more, and tell all its evaluations at the end."""

    kind: Literal["replay"] = "replay"
    """Kind of the assignment."""
    number: Count
    """Number of the trial, from 0."""
    params: Params
    """Params of the trial, searched and fixed ones together."""
    facts: Facts
    """What was found out about data and model when the study was prepared."""
    evaluate_at: list[Step] | None
    """Steps at which the trial was evaluated, ascending, or would have been; null: at every step."""
    partial_at: dict[Step, float] = {}
    """Steps of these at which the trial read only a share of the validation rows, with the share."""
    last_step: Step | None
    """Step of the evaluation at which the replay ends, as the trial did; null: it ends by itself, or fails as the trial
    did."""


class ProbeAssignment(_Assignment):
    """Measure what ``facts`` awaits while others train: how close the task is to what the checkpoint has learnt, how
    long steps take, or both."""

    kind: Literal["probe"] = "probe"
    """Kind of the assignment."""
    facts: Facts
    """What was found out about data and model when the study was prepared."""


Assignment = Annotated[
    PrepareAssignment
    | ProbeAssignment
    | SmallAssignment
    | TrialAssignment
    | ReplayAssignment
    | ConfirmAssignment
    | ScoreAssignment,
    Field(discriminator="kind"),
]
"""Any assignment, told apart by its ``kind``."""


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


class PreparedOutcome(Wire):
    """The outcome of a ``prepare`` assignment: facts or a failure."""

    kind: Literal["prepare"]
    """Kind of the assignment."""
    facts: Facts | None = None
    """What was found out about data and model; absent where preparing has failed."""
    failure: Failure | None = None
    """Reason why preparing has failed; absent otherwise."""
    device_seconds: Annotated[float, Field(ge=0)]
    """Seconds that the assignment has occupied the device."""


class TrialSpeed(Wire):
    """What a worker has measured of the speed of a trial, from which follows what pruning, early stopping and the trunk
    cache have saved."""

    seconds_per_epoch: Annotated[float, Field(ge=0)] | None = None
    """Seconds that the last attempt took for an epoch, on average, its evaluations included unless the assignment names
    the steps to evaluate at; making the model and waiting for the service are not counted. Null where it has trained
    nothing."""
    trunk_seconds: float | None = None
    """Seconds that frozen blocks would have taken for the rows that came from the trunk cache instead, at the speed at
    which they were computed for it, less the seconds in which the trial itself has filled it. Null where the trial has
    read no rows from it, or their speed is not known."""


class TrialOutcome(Wire):
    """The outcome of a ``trial`` assignment; it has no value, because the service derives that from the reports."""

    kind: Literal["trial"]
    """Kind of the assignment."""
    state: Literal["COMPLETE", "PRUNED", "FAIL"]
    """State in which the trial ends."""
    failure: Failure | None = None
    """Reason why the trial failed or was ended early; absent where it is complete."""
    device_seconds: Annotated[float, Field(ge=0)]
    """Seconds that the assignment has occupied the device."""
    speed: TrialSpeed | None = None
    """What was measured of the trial's speed; absent where nothing was."""


class SmallOutcome(Wire):
    """The outcome of a ``small`` assignment: metrics or a failure."""

    kind: Literal["small"]
    """Kind of the assignment."""
    metrics: Metrics | None = None
    """Metrics of the best evaluation by name, the objective's among them; absent where the small run has failed."""
    failure: Failure | None = None
    """Reason why the small run has failed; absent otherwise."""
    device_seconds: Annotated[float, Field(ge=0)]
    """Seconds that the assignment has occupied the device."""


class ConfirmOutcome(Wire):
    """The outcome of a ``confirm`` assignment: metrics or a failure."""

    kind: Literal["confirm"]
    """Kind of the assignment."""
    metrics: Metrics | None = None
    """Metrics of the run's best evaluation by name, the objective's among them; absent where the run has failed."""
    row_scores: Annotated[list[float], Field(min_length=1, max_length=MAX_ROW_SCORES, fail_fast=True)] | None = None
    """Value of the objective on each validation row at that evaluation, or on groups of rows, the same in all runs of a
    study, so scaled that their mean is the objective; absent where it is no mean over rows, or the run has failed."""
    failure: Failure | None = None
    """Reason why the run has failed; absent otherwise."""
    device_seconds: Annotated[float, Field(ge=0)]
    """Seconds that the assignment has occupied the device."""


class ScoreOutcome(Wire):
    """The outcome of a ``score`` assignment: metrics or a failure."""

    kind: Literal["score"]
    """Kind of the assignment."""
    metrics: Metrics | None = None
    """Metrics of the winner's model on the test split, by name; absent where scoring has failed."""
    failure: Failure | None = None
    """Reason why scoring has failed; absent otherwise."""
    device_seconds: Annotated[float, Field(ge=0)]
    """Seconds that the assignment has occupied the device."""


class ProbeOutcome(Wire):
    """The outcome of a ``probe`` assignment: what was measured, nothing where it cannot be measured, or a failure."""

    kind: Literal["probe"]
    """Kind of the assignment."""
    similarity: Similarity | None = None
    """How close the task is to what the checkpoint has learnt already; absent where nothing can be told, or where
    measuring has failed."""
    step_times: StepTimes | None = None
    """What trials of the study will take; absent where ``facts`` does not await it, or where measuring has failed."""
    failure: Failure | None = None
    """Reason why measuring has failed; absent otherwise."""
    device_seconds: Annotated[float, Field(ge=0)]
    """Seconds that the assignment has occupied the device."""


class ReplayedEvaluation(Wire):
    """One evaluation of a replay."""

    step: Step
    """Step of the evaluation within the trial, from 1."""
    value: float
    """Value of the first objective."""
    metrics: Metrics
    """Metrics of the evaluation by name."""


class ReplayOutcome(Wire):
    """The outcome of a ``replay`` assignment: the evaluations that it made, and how it failed if it did."""

    kind: Literal["replay"]
    """Kind of the assignment."""
    evaluations: Annotated[list[ReplayedEvaluation], Field(max_length=MAX_REPLAYED, fail_fast=True)]
    """Evaluations in the order of their steps, those before a failure too."""
    failure: Failure | None = None
    """Reason why the replay has failed; absent otherwise."""
    device_seconds: Annotated[float, Field(ge=0)]
    """Seconds that the assignment has occupied the device."""


Outcome = Annotated[
    PreparedOutcome | ProbeOutcome | SmallOutcome | TrialOutcome | ReplayOutcome | ConfirmOutcome | ScoreOutcome,
    Field(discriminator="kind"),
]
"""Any outcome, told apart by the ``kind`` of its assignment."""


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
