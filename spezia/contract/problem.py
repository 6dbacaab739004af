"""Errors as RFC 9457 problem documents."""

from enum import StrEnum
from typing import Any

from spezia.contract.wire import Reply

MEDIA_TYPE = "application/problem+json"


class Code(StrEnum):
    """Every problem code; clients match these, never the text."""

    INVALID = "invalid"
    MALFORMED = "malformed"
    TOO_LARGE = "too-large"
    NOT_FOUND = "not-found"
    METHOD_NOT_ALLOWED = "method-not-allowed"
    STUDY_NOT_FOUND = "study-not-found"
    TRIAL_NOT_FOUND = "trial-not-found"
    NO_BEST = "no-best"
    NO_MODEL = "no-model"
    STUDY_EXISTS = "study-exists"
    STUDY_ENDED = "study-ended"
    STUDY_NOT_PREPARED = "study-not-prepared"
    TRIAL_NOT_FAILED = "trial-not-failed"
    KEY_REUSED = "idempotency-key-reused"
    DATASET_NOT_FOUND = "dataset-not-found"
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
    field: str
    message: str
    value: Any = None


class Problem(Reply):
    """``detail`` says what to do next."""

    type: str
    title: str
    status: int
    detail: str
    code: Code
    errors: list[FieldProblem] | None = None
    request_id: str | None = None
    """As in the header `X-Request-ID`; the service's log names it."""
