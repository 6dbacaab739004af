"""Errors of the REST API, as RFC 9457 problem documents."""

from enum import StrEnum
from typing import Any

from spezia.contract.wire import Reply

MEDIA_TYPE = "application/problem+json"
"""Media type of every answer that is an error."""


class Code(StrEnum):
    """Every problem code; clients match these, never the text."""

    INVALID = "invalid"
    MALFORMED = "malformed"
    TOO_LARGE = "too-large"
    TOO_SLOW = "too-slow"
    NOT_FOUND = "not-found"
    METHOD_NOT_ALLOWED = "method-not-allowed"
    STUDY_NOT_FOUND = "study-not-found"
    TRIAL_NOT_FOUND = "trial-not-found"
    NO_BEST = "no-best"
    NO_MODEL = "no-model"
    NO_CHECKPOINT = "no-checkpoint"
    STUDY_EXISTS = "study-exists"
    STUDY_ENDED = "study-ended"
    STUDY_NOT_PREPARED = "study-not-prepared"
    TRIAL_NOT_FAILED = "trial-not-failed"
    TRIAL_NOT_REPLAYABLE = "trial-not-replayable"
    REPLAY_NOT_FOUND = "replay-not-found"
    KEY_REUSED = "idempotency-key-reused"
    DATASET_NOT_FOUND = "dataset-not-found"
    MODEL_NOT_FOUND = "model-not-found"
    MODEL_IN_USE = "model-in-use"
    NO_PREVIEW = "no-preview"
    WEBHOOK_NOT_FOUND = "webhook-not-found"
    TOO_FEW_TRIALS = "too-few-trials"
    LEASE_LOST = "lease-lost"
    REPORT_CONFLICT = "report-conflict"
    OUTCOME_REFUSED = "outcome-refused"
    WORKER_UNKNOWN = "worker-unknown"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    TOO_MANY_REQUESTS = "too-many-requests"
    PROTOCOL_TOO_OLD = "protocol-too-old"
    UNAVAILABLE = "unavailable"
    INTERNAL = "internal"


class FieldProblem(Reply):
    """One field of a request that was refused."""

    field: str
    """Path of the field in the body, such as ``search_space.epochs.low``, or the name of a parameter."""
    message: str
    """What is wrong with the field and what to do."""
    value: Any = None
    """The refused value, where it can be shown."""


class Problem(Reply):
    """An error as RFC 9457 has it: what happened and what to do."""

    type: str
    """URI of the kind of problem."""
    title: str
    """Kind of problem, in a few words."""
    status: int
    """HTTP status of the answer."""
    detail: str
    """What happened in this case, and what to do next."""
    code: Code
    """Code of the problem, for programs."""
    errors: list[FieldProblem] | None = None
    """Fields that were refused, each with its reason; null where the problem is not about fields."""
    request_id: str | None = None
    """Id of the request, as in the header ``X-Request-ID`` and in the service's log."""
