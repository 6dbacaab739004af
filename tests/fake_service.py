"""A service in memory, behind an httpx2 transport: hands out what it is given, remembers what it is told."""

import contextlib
import json
import threading
from collections import deque
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx2

from spezia.contract.assignments import (
    Assignment,
    ConfirmAssignment,
    PrepareAssignment,
    ProbeAssignment,
    ReplayAssignment,
    ScoreAssignment,
    TrialAssignment,
)
from spezia.contract.parquet_head import HeadToRead
from spezia.contract.problem import MEDIA_TYPE, Code, Problem
from spezia.contract.protocol import (
    TOKEN_HEADER,
    Dispatch,
    Report,
    ReportReplies,
    ReportReply,
    ReportRequest,
    Told,
    WantedCheckpoint,
    WorkerTerms,
)
from spezia.contract.study_spec import StudySpec
from tests.fake_engine import FACTS, MODEL
from trainer.supervisor.supervisor import Terminated

SPEC = StudySpec.model_validate(
    {
        "name": "feedback",
        "task": "text-classification",
        "model": {"name": "tiny"},
        "data": {"train": "train.csv"},
        "search_space": {"learning_rate": {"type": "float", "low": 1e-6, "high": 1e-3, "log": True}},
    }
)

Answer = Callable[[Report], dict[str, Any]]
Fault = Callable[[httpx2.Request], httpx2.Response | None]


def assignment(kind: str = "trial", number: int = 0, **changes: Any) -> Assignment:
    """An assignment with a lease of its own: ids are made of its number."""
    common: dict[str, Any] = {
        "lease_id": f"{number:032x}",
        "token": f"{number:031x}a",
        "expires_at": datetime(2026, 11, 22, tzinfo=UTC),
        "attempt": 1,
        "study": "feedback",
        "study_id": "f" * 32,
        "spec": SPEC,
    }
    if kind == "prepare":
        return PrepareAssignment(**(common | changes))
    if kind == "probe":
        return ProbeAssignment(**(common | {"facts": FACTS} | changes))
    common |= {"number": number, "params": {"learning_rate": 3e-5, "epochs": 2}, "facts": FACTS}
    if kind == "confirm":
        return ConfirmAssignment(**(common | {"fresh_seed": 0, "seconds_left": None} | changes))
    if kind == "replay":
        return ReplayAssignment(**(common | {"evaluate_at": None, "last_step": None} | changes))
    if kind == "score":
        return ScoreAssignment(**(common | {"model_files": list(MODEL)} | changes))
    return TrialAssignment(**(common | {"seconds_left": None} | changes))


def problem(status: int, code: Code) -> httpx2.Response:
    body = Problem(type="about:blank", title="refused", status=status, detail="do something else", code=code)
    return httpx2.Response(status, content=body.model_dump_json().encode(), headers={"Content-Type": MEDIA_TYPE})


class FakeService:
    """Ends a worker in the same process (by ``Terminated``) when it has nothing more to do."""

    def __init__(self, *assignments: Assignment) -> None:
        self.assignments = deque(assignments)
        self.answer: Answer = lambda report: {}
        """Fields of the reply to a report that are not the usual ones."""
        self.is_served = False
        """Workers are other processes: they just get no work."""
        self.fault: Fault = lambda request: None
        """Looks at every request first; may answer it or raise."""
        self.directives: dict[str, str] = {}
        """By lease id, for heartbeats."""
        self.wanted: list[dict[str, Any]] = []
        """Checkpoints that others wait for, as heartbeats say."""
        self.checkpoints: dict[str, bytes] = {}
        """By lease id: those that were sent, and those that are to be fetched."""
        self.heartbeat_seconds = 0.01
        self.calls: list[str] = []
        self.workers: list[dict[str, Any]] = []
        self.dispatches: list[dict[str, Any]] = []
        """What workers asked with."""
        self.reports: list[Report] = []
        self.batches: list[int] = []
        self.outcomes: list[dict[str, Any]] = []
        self.released: list[str] = []
        self.released_with: list[dict[str, Any]] = []
        self.logs: dict[str, str] = {}
        self.artifacts: dict[str, bytes] = {}
        self.to_read: deque[str] = deque()
        """Hashes of Parquet files whose beginnings are handed out before assignments."""
        self.heads: dict[str, dict[str, Any]] = {}
        """What workers have found in them."""

    @property
    def transport(self) -> httpx2.MockTransport:
        return httpx2.MockTransport(self.handle)

    def handle(self, request: httpx2.Request) -> httpx2.Response:
        request.read()
        verb, path = request.method, request.url.path.removeprefix("/v1/")
        self.calls.append(f"{verb} {path}")
        answered = self.fault(request)
        if answered is not None:
            return answered
        if path == "workers":
            self.workers.append(json.loads(request.content))
            return _json(WorkerTerms(heartbeat_seconds=self.heartbeat_seconds, lease_seconds=90.0))
        if path.endswith("/dispatch"):
            self.dispatches.append(json.loads(request.content))
            return self._dispatch()
        if "/heads/" in path:
            self.heads[path.rpartition("/")[2]] = json.loads(request.content)
            return httpx2.Response(204)
        if path == "leases/heartbeat":
            return self._heartbeat(request)
        if path == "leases/report":
            return self._report(request)
        _, lease_id, what, *file = path.split("/")
        assert request.headers[TOKEN_HEADER] == lease_id[1:] + "a"
        return self._lease_call(request, lease_id, what, *file)

    def _dispatch(self) -> httpx2.Response:
        if self.to_read:
            return _json(Dispatch(assignments=[], to_read=HeadToRead(sha256=self.to_read.popleft())))
        if not self.assignments and self.is_served:
            return _json(Dispatch(assignments=[]))
        if not self.assignments:
            raise Terminated("nothing left to do")
        return _json(Dispatch(assignments=[self.assignments.popleft()]))

    def _heartbeat(self, request: httpx2.Request) -> httpx2.Response:
        held = [lease["lease_id"] for lease in json.loads(request.content)["leases"]]
        statuses = [{"lease_id": i, "directive": self.directives.get(i, "continue"), "expires_at": None} for i in held]
        return httpx2.Response(200, json={"leases": statuses, "checkpoints": self.wanted})

    def _report(self, request: httpx2.Request) -> httpx2.Response:
        reports = ReportRequest.model_validate_json(request.content).reports
        self.batches.append(len(reports))
        self.reports += reports
        return _json(ReportReplies(replies=[self._reply(report) for report in reports]))

    def _reply(self, report: Report) -> ReportReply:
        usual = {"directive": "continue", "should_prune": False, "reason": None, "keep_model": False}
        return ReportReply.model_validate(
            {"lease_id": report.lease_id, "step": report.step} | usual | self.answer(report)
        )

    def _lease_call(self, request: httpx2.Request, lease_id: str, what: str, *file: str) -> httpx2.Response:
        if what == "tell":
            self.outcomes.append(json.loads(request.content))
            return _json(Told(replayed=False))
        if what == "release":
            self.released_with.append(json.loads(request.content))
            self.released.append(self.released_with[-1]["reason"])
        elif what == "log":
            self.logs[lease_id] = self.logs.get(lease_id, "") + request.content.decode()
        elif what == "checkpoint" and request.method == "PUT":
            self.checkpoints[lease_id] = request.content
        elif what == "checkpoint":
            return httpx2.Response(200, content=self.checkpoints[lease_id])
        elif what == "artifacts":
            self.artifacts["/".join(file)] = request.content
        else:
            return httpx2.Response(200, content=MODEL["/".join(file)])
        return httpx2.Response(204)


@contextlib.contextmanager
def served(service: FakeService) -> Iterator[str]:
    """``service`` over HTTP on a port of this machine; its address."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            url = f"http://service{self.path}"
            with contextlib.suppress(ConnectionError):  # tests kill workers, and a fault may hang up
                response = service.handle(
                    httpx2.Request(self.command, url, headers=dict(self.headers), content=content)
                )
                self.send_response(response.status_code)
                self.send_header("Content-Length", response.headers.get("Content-Length", "0"))
                self.end_headers()
                for chunk in response.iter_bytes():
                    self.wfile.write(chunk)

        do_GET = do_PUT = do_POST = _answer

        def log_message(self, format: str, *arguments: object) -> None:
            """Say nothing."""

    service.is_served = True
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def report(step: int) -> Report:
    """The evaluation ``step`` of a trial, which is not its last."""
    return Report(
        lease_id="a" * 32,
        token="b" * 32,
        step=step,
        epoch=1.0,
        optimizer_steps=1,
        value=0.5,
        metrics={},
        final=False,
    )


def wanted_checkpoint(**changes: Any) -> WantedCheckpoint:
    """A checkpoint of trial 3, which another worker waits for."""
    wanted = {
        "lease_id": "c" * 32,
        "token": "c" * 31 + "a",
        "study_id": "f" * 32,
        "number": 3,
        "attempt": 1,
        "step": 2,
        "max_bytes": 10**6,
        "within_seconds": 50.0,
    }
    return WantedCheckpoint.model_validate(wanted | changes)


def _json(body: WorkerTerms | Dispatch | ReportReplies | Told) -> httpx2.Response:
    return httpx2.Response(200, content=body.model_dump_json().encode())
