"""The errors by which the service refuses a request, as one tree.

ServiceError                500 internal
├── NotFound                404 not-found
│   ├── StudyNotFound       404 study-not-found
│   ├── TrialNotFound       404 trial-not-found
│   ├── ReplayNotFound      404 replay-not-found
│   ├── NoBest              404 no-best
│   ├── NoModel             404 no-model
│   ├── NoCheckpoint        404 no-checkpoint
│   ├── DatasetNotFound     404 dataset-not-found
│   ├── NoPreview           404 no-preview
│   ├── WebhookNotFound     404 webhook-not-found
│   └── WorkerUnknown       404 worker-unknown
├── Invalid                 422 invalid: fields, each with its reason
├── KeyReused               422 idempotency-key-reused
├── Conflict                409
│   ├── StudyExists         409 study-exists
│   ├── StudyEnded          409 study-ended
│   ├── NotPrepared         409 study-not-prepared
│   ├── TrialNotFailed      409 trial-not-failed
│   ├── TrialNotReplayable  409 trial-not-replayable
│   ├── TooFewTrials        409 too-few-trials
│   ├── ModelInUse          409 model-in-use
│   ├── LeaseLost           409 lease-lost: a stale writer; nothing has changed
│   ├── ReportConflict      409 report-conflict
│   └── OutcomeRefused      409 outcome-refused
├── Unauthorized            401 unauthorized: no key, or not a good one
├── Forbidden               403 forbidden: the key lacks the scope
├── CrossSite               403 forbidden: a page of another site, where no key is needed
├── TooManyRequests         429 too-many-requests
├── ProtocolTooOld          426 protocol-too-old
├── TooLarge                413 too-large
└── Unavailable             503 unavailable: the database does not answer
    └── DatabaseDamaged     503 unavailable: what is in its file is no database of SQLite, or no whole one
"""

from collections.abc import Sequence

from spezia.contract.problem import Code, FieldProblem

MAX_NAMES = 10
"""How many studies a message names."""


class ServiceError(Exception):
    """Something went wrong inside the service; its log tells more."""

    status = 500
    code = Code.INTERNAL

    def __init__(self, detail: str | None = None) -> None:
        super().__init__(detail or self.__doc__)

    @property
    def detail(self) -> str:
        """What went wrong and what to do, for the person or program that called."""
        return str(self)

    @property
    def headers(self) -> dict[str, str]:
        """Headers that the answer carries besides those of every answer."""
        return {}


class NotFound(ServiceError):
    """There is nothing at this address; see /docs for what there is."""

    status = 404
    code = Code.NOT_FOUND


class StudyNotFound(NotFound):
    """No study of this name exists, or it belongs to somebody else."""

    code = Code.STUDY_NOT_FOUND

    def __init__(self, name: str) -> None:
        super().__init__(f"there is no study {name!r}; GET /v1/studies lists them")


class TrialNotFound(NotFound):
    """The study has no trial of this number."""

    code = Code.TRIAL_NOT_FOUND

    def __init__(self, name: str, number: int) -> None:
        super().__init__(f"study {name!r} has no trial {number}; GET /v1/studies/{name}/trials lists them")


class ReplayNotFound(NotFound):
    """Nobody has asked for a replay of this trial."""

    code = Code.REPLAY_NOT_FOUND

    def __init__(self, name: str, number: int) -> None:
        super().__init__(
            f"trial {number} of {name} has not been replayed; POST to /v1/studies/{name}/trials/{number}/replay"
        )


class NoBest(NotFound):
    """No trial of the study has completed and meets its constraints."""

    code = Code.NO_BEST


class NoModel(NotFound):
    """The model that was asked for is not kept, or has no such file."""

    code = Code.NO_MODEL


class NoCheckpoint(NotFound):
    """The trial goes on from no checkpoint that was sent through the service, or its file is gone; release the lease as
    `checkpoint_lost`."""

    code = Code.NO_CHECKPOINT


class DatasetNotFound(NotFound):
    """No data set of this content was uploaded."""

    code = Code.DATASET_NOT_FOUND

    def __init__(self, sha256: str) -> None:
        super().__init__(f"there is no data set sha256:{sha256}; upload it: POST /v1/datasets")


class ModelNotFound(NotFound):
    """No pretrained model of this content was uploaded, or not by whoever asks."""

    code = Code.MODEL_NOT_FOUND

    def __init__(self, sha256: str) -> None:
        super().__init__(f"there is no uploaded model sha256:{sha256} of yours; upload it: POST /v1/models")


class NoPreview(NotFound):
    """The beginning of a data set cannot be shown; the message says why and what to do."""

    code = Code.NO_PREVIEW


class WebhookNotFound(NotFound):
    """No webhook of this id exists."""

    code = Code.WEBHOOK_NOT_FOUND

    def __init__(self, webhook_id: str) -> None:
        super().__init__(f"there is no webhook {webhook_id}; GET /v1/webhooks lists them")


class WorkerUnknown(NotFound):
    """This worker is not registered; POST /v1/workers first."""

    code = Code.WORKER_UNKNOWN


class Invalid(ServiceError):
    """Fields of a request are refused, each with its reason; the detail lists the first three."""

    status = 422
    code = Code.INVALID

    def __init__(self, *errors: FieldProblem) -> None:
        listed = "; ".join(f"{one.field}: {one.message}" for one in errors[:3])
        super().__init__(f"{listed}; and {len(errors) - 3} more" if len(errors) > 3 else listed)
        self.errors = list(errors)


class KeyReused(ServiceError):
    """This Idempotency-Key belongs to another request of the last 24 hours; use a new key for each request."""

    status = 422
    code = Code.KEY_REUSED


class Conflict(ServiceError):
    """The request does not go with the present state of what it is about."""

    status = 409


class StudyExists(Conflict):
    """The name of the study is taken by one of another spec or another owner."""

    code = Code.STUDY_EXISTS


class StudyEnded(Conflict):
    """The study has ended or is stopping, so it cannot do what was asked."""

    code = Code.STUDY_ENDED


class ModelInUse(Conflict):
    """Studies that have not ended fine-tune the uploaded model."""

    code = Code.MODEL_IN_USE

    def __init__(self, sha256: str, names: Sequence[str]) -> None:
        named = ", ".join(names[:MAX_NAMES])
        more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
        super().__init__(
            f"the model sha256:{sha256} is fine-tuned by studies that have not ended: {named}{more}; cancel or delete "
            "them first, or let them end"
        )


class NotPrepared(Conflict):
    """No worker has checked the study's data and model yet, so its first trials do not exist."""

    code = Code.STUDY_NOT_PREPARED

    def __init__(self, name: str) -> None:
        super().__init__(
            f"study {name!r} has no facts yet: no worker has checked its data and model; "
            "try again when one has, or list the params under `enqueue` of the spec"
        )


class TrialNotFailed(Conflict):
    """Only a trial that has failed can be retried, and this one has not."""

    code = Code.TRIAL_NOT_FAILED


class TrialNotReplayable(Conflict):
    """The trial cannot be run again for comparison: it has not ended, or has left nothing to compare with."""

    code = Code.TRIAL_NOT_REPLAYABLE


class TooFewTrials(Conflict):
    """Too few trials have completed, or they are too alike, to say how much each parameter mattered."""

    code = Code.TOO_FEW_TRIALS


class LeaseLost(Conflict):
    """This lease is no longer yours: nothing has changed. Drop the trial and ask for another."""

    code = Code.LEASE_LOST


class ReportConflict(Conflict):
    """A step was reported before with another value, which stands."""

    code = Code.REPORT_CONFLICT


class OutcomeRefused(Conflict):
    """What a worker reports or tells does not fit its assignment or its earlier reports."""

    code = Code.OUTCOME_REFUSED


class Unauthorized(ServiceError):
    """This service needs an API key: send `Authorization: Bearer spz_…` (clients take it from SPEZIA_API_KEY)."""

    status = 401
    code = Code.UNAUTHORIZED

    @property
    def headers(self) -> dict[str, str]:
        return {"WWW-Authenticate": "Bearer"}


class Forbidden(ServiceError):
    """The caller's key lacks the scope that the call needs."""

    status = 403
    code = Code.FORBIDDEN

    def __init__(self, call: str, needed: list[str], scopes: list[str]) -> None:
        super().__init__(
            f"{call} needs a key with the scope {' or '.join(needed)}; this one has {', '.join(scopes)}; use another"
        )


class CrossSite(ServiceError):
    """A page of another web site sent this; call the service from a program, or from its own pages."""

    status = 403
    code = Code.FORBIDDEN


class TooManyRequests(ServiceError):
    """One key, or one address without a key, has sent too many requests in the last minute."""

    status = 429
    code = Code.TOO_MANY_REQUESTS

    def __init__(self, per_minute: int, retry_seconds: int) -> None:
        super().__init__(f"more than {per_minute} requests in a minute; try again in {retry_seconds} s")
        self.retry_seconds = retry_seconds

    @property
    def headers(self) -> dict[str, str]:
        return {"Retry-After": str(self.retry_seconds)}


class ProtocolTooOld(ServiceError):
    """A worker speaks an older protocol than the service."""

    status = 426
    code = Code.PROTOCOL_TOO_OLD


class TooLarge(ServiceError):
    """A body or an uploaded file is larger than the service accepts."""

    status = 413
    code = Code.TOO_LARGE


class Unavailable(ServiceError):
    """The database does not answer; nothing has changed. Try again."""

    status = 503
    code = Code.UNAVAILABLE

    @property
    def headers(self) -> dict[str, str]:
        return {"Retry-After": "1"}


class DatabaseDamaged(Unavailable):
    """The file of the database is damaged, or is none of SQLite, and no command of ours can mend it."""

    remedy = "move it away, then `spezia db restore FOLDER` brings a backup back"

    def __init__(self, reason: str) -> None:
        super().__init__(f"the database's file is damaged or none of SQLite ({reason}): {self.remedy}")
