"""The only place in the trainer that speaks HTTP: one method per verb of the service, no retries.

ServiceError
├── ServiceUnavailable    nobody answered, or with 5xx: try again later
└── ServiceRefused        4xx: the call itself is wrong, or comes too late
    ├── LeaseLost         the lease is no longer ours: drop everything
    └── WorkerUnknown     the service has forgotten this worker: register again
"""

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

import httpx2
from pydantic import BaseModel, TypeAdapter, ValidationError

from spezia.contract.model_files import UploadedModel
from spezia.contract.outcomes import Outcome
from spezia.contract.parquet_head import HeadOutcome
from spezia.contract.problem import Code, Problem
from spezia.contract.protocol import (
    TOKEN_HEADER,
    Dispatch,
    DispatchRequest,
    HeartbeatReply,
    HeartbeatRequest,
    HeldLease,
    Release,
    ReportReplies,
    ReportRequest,
    Told,
    WantedCheckpoint,
    WorkerRegistration,
    WorkerTerms,
)

_QUICK = httpx2.Timeout(connect=5.0, read=10.0, write=10.0, pool=5.0)
_BULKY = httpx2.Timeout(connect=5.0, read=60.0, write=60.0, pool=5.0)
_KEPT_ELSEWHERE = httpx2.Timeout(connect=5.0, read=600.0, write=60.0, pool=5.0)
"""For uploads: a service that keeps files in a bucket sends all of one there before it answers."""
KEPT_SECONDS = 50.0
"""For so long an idle connection is used again: over several renewals of leases, and not as long as the service
(`service/http_protocol.py`) and most balancers wait before they close it."""
_PASSING = (408, 429)
"""Refusals that have nothing to do with what was said: a line that was too slow, a limit on calls."""
_OUTCOME: TypeAdapter[Outcome] = TypeAdapter(Outcome)

_Body = TypeVar("_Body", bound=BaseModel)


class ServiceError(Exception):
    """Base of all errors of a call to the service."""


class ServiceUnavailable(ServiceError):
    """Nobody answered, or with a status of 5xx: the call may be tried again."""


class ServiceRefused(ServiceError):
    """The service understood the call and said no."""

    def __init__(self, status: int, code: Code | None, detail: str) -> None:
        super().__init__(f"{status} {code or 'without a problem document'}: {detail}")
        self.status = status
        self.code = code


class LeaseLost(ServiceRefused):
    """The lease is no longer ours; another worker may have the assignment."""


class WorkerUnknown(ServiceRefused):
    """The service does not know this worker, which must register again."""


class ServiceClient:
    """Calls the service; may be used from several threads."""

    def __init__(
        self,
        server: str,
        api_key: str | None = None,
        *,
        transport: httpx2.BaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._http = httpx2.Client(
            base_url=server,
            transport=transport,
            timeout=_QUICK,
            limits=httpx2.Limits(keepalive_expiry=KEPT_SECONDS),
            headers=headers,
        )
        self._clock = clock
        self._contact_at = clock()

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def seconds_without_contact(self) -> float:
        """Return the seconds since the service last answered anything, or since this client was made."""
        return self._clock() - self._contact_at

    def register(self, registration: WorkerRegistration) -> WorkerTerms:
        """Register this worker and return what the service expects of it."""
        return self._post("/v1/workers", registration, WorkerTerms)

    def dispatch(self, worker_id: str, request: DispatchRequest) -> Dispatch:
        """Ask for work and wait for it; there may be none."""
        patient = httpx2.Timeout(connect=5.0, read=request.wait_seconds + 10.0, write=10.0, pool=5.0)
        return self._post(f"/v1/workers/{worker_id}/dispatch", request, Dispatch, timeout=patient)

    def tell_head(self, worker_id: str, sha256: str, outcome: HeadOutcome) -> None:
        """Hand in what was found at the beginning of a Parquet file."""
        self._call("POST", f"/v1/workers/{worker_id}/heads/{sha256}", outcome.model_dump_json().encode())

    def heartbeat(self, request: HeartbeatRequest) -> HeartbeatReply:
        """Renew leases; a lost one is named in the reply, not raised."""
        return self._post("/v1/leases/heartbeat", request, HeartbeatReply)

    def report(self, request: ReportRequest) -> ReportReplies:
        """Send evaluations; a lost lease is named in the reply, not raised."""
        return self._post("/v1/leases/report", request, ReportReplies)

    def tell(self, lease: HeldLease, outcome: Outcome) -> Told:
        """Hand in the result of an assignment."""
        content = _OUTCOME.dump_json(outcome)
        response = self._call("POST", f"/v1/leases/{lease.lease_id}/tell", content, lease=lease)
        return _read(Told, response)

    def release(self, lease: HeldLease, release: Release) -> None:
        """Give an assignment back without a result."""
        content = release.model_dump_json(exclude_defaults=True).encode()  # an older service knows no more
        self._call("POST", f"/v1/leases/{lease.lease_id}/release", content, lease=lease)

    def append_log(self, lease: HeldLease, text: str) -> None:
        """Append lines to the log of a trial."""
        path = f"/v1/leases/{lease.lease_id}/log"
        self._call("PUT", path, text.encode(), lease=lease, media_type="text/plain; charset=utf-8")

    def upload(self, lease: HeldLease, file: Path, name: str) -> None:
        """Stream ``file`` to the service, as the file ``name`` of the trial's model."""
        with file.open("rb") as content:
            self._upload(f"/v1/leases/{lease.lease_id}/artifacts/{name}", content, lease.token)

    def fetch_model_file(self, lease: HeldLease, name: str, destination: Path) -> None:
        """Stream a file of the kept model to ``destination``."""
        destination.parent.mkdir(parents=True, exist_ok=True)
        self._fetch(f"/v1/leases/{lease.lease_id}/model/{name}", destination, lease)

    def fetch_dataset(self, sha256: str, destination: Path) -> str:
        """Stream an uploaded data set to ``destination``, and return its media type."""
        return str(self._fetch(f"/v1/datasets/{sha256}", destination)["Content-Type"])

    def describe_pretrained(self, lease: HeldLease) -> UploadedModel:
        """Describe the uploaded model that the study of ``lease`` fine-tunes."""
        return _read(UploadedModel, self._call("GET", f"/v1/leases/{lease.lease_id}/pretrained", b"", lease=lease))

    def fetch_pretrained_file(self, lease: HeldLease, name: str, destination: Path) -> None:
        """Stream a file of the uploaded model that the study of ``lease`` fine-tunes to ``destination``."""
        self._fetch(f"/v1/leases/{lease.lease_id}/pretrained/{name}", destination, lease)

    def upload_checkpoint(self, wanted: WantedCheckpoint, chunks: Iterable[bytes]) -> None:
        """Stream a checkpoint to the service that another worker waits for."""
        self._upload(f"/v1/leases/{wanted.lease_id}/checkpoint", chunks, wanted.token)

    def fetch_checkpoint(self, lease: HeldLease, destination: Path) -> None:
        """Stream the checkpoint that a trial goes on from to ``destination``."""
        self._fetch(f"/v1/leases/{lease.lease_id}/checkpoint", destination, lease)

    def _upload(self, path: str, content: Iterable[bytes], token: str) -> None:
        headers = {TOKEN_HEADER: token, "Content-Type": "application/octet-stream"}
        try:
            response = self._http.put(path, content=content, headers=headers, timeout=_KEPT_ELSEWHERE)
        except httpx2.TransportError as error:
            raise self._unavailable(error) from error
        self._check(response)

    def _fetch(self, path: str, destination: Path, lease: HeldLease | None = None) -> httpx2.Headers:
        """Stream a file to ``destination``, and return the headers that came with it."""
        headers = {TOKEN_HEADER: lease.token} if lease else {}
        try:
            with self._http.stream("GET", path, headers=headers, timeout=_BULKY) as response:
                if not response.is_success:
                    response.read()
                self._check(response)
                with destination.open("wb") as out:
                    for chunk in response.iter_bytes():
                        out.write(chunk)
                return response.headers
        except httpx2.TransportError as error:
            raise self._unavailable(error) from error

    def _post(self, path: str, body: BaseModel, reply: type[_Body], *, timeout: httpx2.Timeout = _QUICK) -> _Body:
        return _read(reply, self._call("POST", path, body.model_dump_json().encode(), timeout=timeout))

    def _call(
        self,
        method: str,
        path: str,
        content: bytes,
        *,
        lease: HeldLease | None = None,
        media_type: str = "application/json",
        timeout: httpx2.Timeout = _QUICK,
    ) -> httpx2.Response:
        headers = {"Content-Type": media_type} | ({TOKEN_HEADER: lease.token} if lease else {})
        try:
            response = self._http.request(method, path, content=content, headers=headers, timeout=timeout)
        except httpx2.TransportError as error:
            raise self._unavailable(error) from error
        self._check(response)
        return response

    def _check(self, response: httpx2.Response) -> None:
        if response.status_code >= 500 or response.status_code in _PASSING:
            raise ServiceUnavailable(f"the service answers {response.status_code} {response.reason_phrase}")
        self._contact_at = self._clock()
        if not response.is_success:
            raise _refusal(response)

    def _unavailable(self, error: httpx2.TransportError) -> ServiceUnavailable:
        return ServiceUnavailable(f"no answer of {self._http.base_url}: {type(error).__name__}: {error}")


def _refusal(response: httpx2.Response) -> ServiceRefused:
    try:
        problem = Problem.model_validate_json(response.content)
    except ValidationError:
        return ServiceRefused(response.status_code, None, response.text[:200])
    kinds = {Code.LEASE_LOST: LeaseLost, Code.WORKER_UNKNOWN: WorkerUnknown}
    detail = "; ".join([problem.detail, *(f"{e.field}: {e.message}" for e in problem.errors or [])])
    return kinds.get(problem.code, ServiceRefused)(problem.status, problem.code, detail)


def _read(reply: type[_Body], response: httpx2.Response) -> _Body:
    try:
        return reply.model_validate_json(response.content)
    except ValidationError as error:
        raise ServiceRefused(
            response.status_code, None, f"not the answer of a Spezia service ({error.error_count()} errors)"
        ) from error
