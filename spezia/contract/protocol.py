"""What workers say and hear. Protocol version 1."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from spezia.contract.facts import Facts
from spezia.contract.failure import Failure
from spezia.contract.study_spec import CheckedSpec, Params
from spezia.contract.wire import Count, Identifier, Reply, Text, Wire

PROTOCOL = 1
MAX_WAIT_SECONDS = 30.0
MAX_CHECKPOINTS = 64
TOKEN_HEADER = "Lease-Token"

Step = Annotated[int, Field(ge=1, le=2**31 - 1)]
Metrics = Annotated[dict[str, float], Field(max_length=64)]


DeviceKind = Literal["cpu", "cuda", "mps"]


class Device(Wire):
    kind: DeviceKind
    name: Text
    memory_bytes: Count
    bf16: bool
    """The device computes in bf16 by itself."""


class WorkerRegistration(Wire):
    worker_id: Identifier
    """Random, new for each process."""
    host: Text
    device: Device
    versions: Annotated[dict[str, str], Field(max_length=32)]
    protocol: Count


class WorkerTerms(Reply):
    """What the service expects of a registered worker."""

    heartbeat_seconds: float
    lease_seconds: float


class HeldCheckpoint(Wire):
    """Where a worker could go on with a trial that was interrupted."""

    study_id: Identifier
    number: Count
    attempt: Annotated[int, Field(ge=1, le=2**31 - 1)]
    """The one that wrote it."""
    step: Annotated[int, Field(ge=0, le=2**31 - 1)]
    """Evaluations that the trial had made."""


class DispatchRequest(Wire):
    checkpoints: Annotated[list[HeldCheckpoint], Field(max_length=MAX_CHECKPOINTS)] = []
    """On the worker's disk; a trial that waits goes on from one of them if its reports are known to the service."""
    slots: Annotated[int, Field(ge=1, le=64)] = 1
    wait_seconds: Annotated[float, Field(ge=0, le=MAX_WAIT_SECONDS)] = 0.0


class _Assignment(Reply):
    lease_id: str
    token: str
    expires_at: datetime
    attempt: Count
    study: str
    study_id: str
    """Random and never reused, unlike the name: the key of a worker's caches."""
    spec: CheckedSpec


class PrepareAssignment(_Assignment):
    kind: Literal["prepare"] = "prepare"


class Resume(Reply):
    """The checkpoint of the asking worker that the trial goes on from; the next report is of ``step + 1``."""

    attempt: int
    step: int


class TrialAssignment(_Assignment):
    kind: Literal["trial"] = "trial"
    number: Count
    params: Params
    """Searched and fixed params together."""
    facts: Facts
    seconds_left: float | None
    """Until the study's timeout; a trial that overruns it ends itself as ``budget``."""
    resume: Resume | None = None
    """Null: the trial begins anew."""


class SmallAssignment(_Assignment):
    """Run a trial's params on a fraction of the training data, and report nothing but the outcome."""

    kind: Literal["small"] = "small"
    number: Count
    params: Params
    facts: Facts
    fraction: float
    seconds_left: float | None
    """As of a trial."""


class ScoreAssignment(_Assignment):
    """Score the winner's kept model on the locked test split."""

    kind: Literal["score"] = "score"
    number: Count
    params: Params
    facts: Facts
    model_files: list[str]
    """To be fetched from ``/v1/leases/{lease_id}/model/{file}``."""


Assignment = Annotated[
    PrepareAssignment | SmallAssignment | TrialAssignment | ScoreAssignment, Field(discriminator="kind")
]


class Dispatch(Reply):
    assignments: list[Assignment]


class HeldLease(Wire):
    lease_id: Identifier
    token: Identifier


class HeartbeatRequest(Wire):
    leases: Annotated[list[HeldLease], Field(max_length=64)]


Directive = Literal["continue", "cancel", "lost"]
"""cancel: end it now and tell what you have; lost: the lease is no longer yours, drop everything."""


class LeaseStatus(Reply):
    lease_id: str
    directive: Directive
    expires_at: datetime | None


class HeartbeatReply(Reply):
    leases: list[LeaseStatus]


class Report(HeldLease):
    step: Step
    epoch: Annotated[float, Field(gt=0)]
    optimizer_steps: Annotated[int, Field(ge=1)]
    value: float
    metrics: Metrics
    final: bool
    """The trial ends with this evaluation; it is never pruned."""


class ReportRequest(Wire):
    reports: Annotated[list[Report], Field(min_length=1, max_length=1_000)]


class ReportReply(Reply):
    lease_id: str
    step: Count
    directive: Directive
    should_prune: bool
    reason: str | None
    keep_model: bool
    """Upload the model of the best evaluation before telling: it is among the study's best ``keep_models``."""


class ReportReplies(Reply):
    replies: list[ReportReply]


class PreparedOutcome(Wire):
    kind: Literal["prepare"]
    facts: Facts | None = None
    failure: Failure | None = None
    device_seconds: Annotated[float, Field(ge=0)]


class TrialOutcome(Wire):
    """No value: the service derives it from the reports."""

    kind: Literal["trial"]
    state: Literal["COMPLETE", "PRUNED", "FAIL"]
    failure: Failure | None = None
    device_seconds: Annotated[float, Field(ge=0)]


class SmallOutcome(Wire):
    """The metrics of the best evaluation, the objective's among them."""

    kind: Literal["small"]
    metrics: Metrics | None = None
    failure: Failure | None = None
    device_seconds: Annotated[float, Field(ge=0)]


class ScoreOutcome(Wire):
    kind: Literal["score"]
    metrics: Metrics | None = None
    failure: Failure | None = None
    device_seconds: Annotated[float, Field(ge=0)]


Outcome = Annotated[PreparedOutcome | SmallOutcome | TrialOutcome | ScoreOutcome, Field(discriminator="kind")]


ReleaseReason = Literal["preempted", "bystander", "disk_full", "checkpoint_lost"]
"""bystander: another trial broke the worker's process; checkpoint_lost: the trial cannot go on, only begin anew."""


class Release(Wire):
    reason: ReleaseReason


class Told(Reply):
    """The result is accepted; ``replayed`` when it had been before."""

    replayed: bool
