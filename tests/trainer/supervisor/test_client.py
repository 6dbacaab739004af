"""One method per verb: where it goes, what it carries, which error comes back."""

import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import httpx2
import pytest

from spezia.contract.failure import Failure
from spezia.contract.outcomes import TrialOutcome
from spezia.contract.problem import Code
from spezia.contract.protocol import DispatchRequest, HeartbeatRequest, HeldLease, Release, Report, ReportRequest
from tests.fake_service import FakeService, assignment, problem
from trainer.supervisor.client import (
    KEPT_SECONDS,
    LeaseLost,
    ServiceClient,
    ServiceRefused,
    ServiceUnavailable,
    WorkerUnknown,
)

LEASE = HeldLease(lease_id=f"{5:032x}", token=f"{5:031x}a")
REPORT = Report(**LEASE.model_dump(), step=1, epoch=0.5, optimizer_steps=3, value=0.7, metrics={}, final=False)


def answering(response: httpx2.Response) -> ServiceClient:
    return ServiceClient("http://service", transport=httpx2.MockTransport(lambda request: response))


def test_dispatch_brings_assignments() -> None:
    service = FakeService(assignment(number=5))
    client = ServiceClient("http://service", transport=service.transport)
    (got,) = client.dispatch("e" * 32, DispatchRequest(wait_seconds=30.0)).assignments
    assert got == assignment(number=5)
    assert service.calls == [f"POST workers/{'e' * 32}/dispatch"]


def test_calls_of_one_lease_carry_its_token(tmp_path: Path) -> None:
    service = FakeService()  # checks the token of each
    client = ServiceClient("http://service", transport=service.transport)
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"weights")
    client.append_log(LEASE, "step 1 · 0.7\n")
    client.upload(LEASE, file, "model.safetensors")
    client.upload(LEASE, file, "adapter/model.safetensors")
    client.release(LEASE, Release(reason="preempted"))
    failure = Failure(failure_class="exception", message="boom")
    client.tell(LEASE, TrialOutcome(kind="trial", state="FAIL", failure=failure, device_seconds=1.5))
    assert service.logs == {LEASE.lease_id: "step 1 · 0.7\n"}
    assert service.artifacts == {"model.safetensors": b"weights", "adapter/model.safetensors": b"weights"}
    assert service.released == ["preempted"]
    assert service.outcomes[0]["failure"] == {"failure_class": "exception", "message": "boom"}


def test_batches_carry_tokens_in_the_body() -> None:
    service = FakeService()
    client = ServiceClient("http://service", transport=service.transport)
    service.directives = {LEASE.lease_id: "cancel"}
    assert client.heartbeat(HeartbeatRequest(leases=[LEASE])).leases[0].directive == "cancel"
    assert client.report(ReportRequest(reports=[REPORT])).replies[0].step == 1
    assert service.reports == [REPORT]


def test_model_file_is_streamed_to_disk(tmp_path: Path) -> None:
    client = ServiceClient("http://service", transport=FakeService().transport)
    client.fetch_model_file(LEASE, "config.json", tmp_path / "config.json")
    assert (tmp_path / "config.json").read_bytes() == b"{}\n"


@pytest.mark.parametrize(
    ("response", "error"),
    [
        (problem(409, Code.LEASE_LOST), LeaseLost),
        (problem(404, Code.WORKER_UNKNOWN), WorkerUnknown),
        (problem(409, Code.OUTCOME_REFUSED), ServiceRefused),
        (httpx2.Response(404, text="<html>nginx</html>"), ServiceRefused),
        (httpx2.Response(302, headers={"Location": "http://elsewhere/"}), ServiceRefused),
        (httpx2.Response(200, json={"message": "another program"}), ServiceRefused),
        (httpx2.Response(503), ServiceUnavailable),
        (httpx2.Response(429), ServiceUnavailable),
        (httpx2.Response(408), ServiceUnavailable),
        (problem(500, Code.INTERNAL), ServiceUnavailable),
    ],
)
def test_answers_become_errors(response: httpx2.Response, error: type[Exception]) -> None:
    with pytest.raises(error) as raised:
        answering(response).report(ReportRequest(reports=[REPORT]))
    assert type(raised.value) is error


def test_problem_is_passed_on_in_words(tmp_path: Path) -> None:
    client = answering(problem(409, Code.OUTCOME_REFUSED))
    with pytest.raises(ServiceRefused, match="409 outcome-refused: do something else"):
        client.fetch_model_file(LEASE, "config.json", tmp_path / "config.json")


@pytest.mark.parametrize("error", [httpx2.ConnectError("refused"), httpx2.ReadTimeout("slow")])
def test_broken_connection_is_unavailability(error: httpx2.TransportError, tmp_path: Path) -> None:
    def fail(request: httpx2.Request) -> httpx2.Response:
        raise error

    client = ServiceClient("http://service", transport=httpx2.MockTransport(fail))
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(ServiceUnavailable, match=type(error).__name__):
        client.heartbeat(HeartbeatRequest(leases=[LEASE]))
    with pytest.raises(ServiceUnavailable):
        client.upload(LEASE, file, "file")
    with pytest.raises(ServiceUnavailable):
        client.fetch_model_file(LEASE, "config.json", file)


def test_any_answer_of_the_service_is_contact() -> None:
    now, answers = [0.0], [httpx2.Response(503), problem(409, Code.LEASE_LOST)]
    transport = httpx2.MockTransport(lambda request: answers.pop(0))
    client = ServiceClient("http://service", transport=transport, clock=lambda: now[0])
    now[0] = 10.0
    with pytest.raises(ServiceUnavailable):
        client.append_log(LEASE, "x")
    assert client.seconds_without_contact() == 10.0
    with pytest.raises(LeaseLost):
        client.append_log(LEASE, "x")
    assert client.seconds_without_contact() == 0.0


@pytest.mark.parametrize("api_key", [None, "spz_key"])
def test_every_call_shows_the_key_if_there_is_one(api_key: str | None, tmp_path: Path) -> None:
    seen: list[str | None] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request.headers.get("Authorization"))
        return httpx2.Response(503)

    client = ServiceClient("http://service", api_key, transport=httpx2.MockTransport(answer))
    file = tmp_path / "weights"
    file.write_bytes(b"w")
    for call in (
        lambda: client.report(ReportRequest(reports=[REPORT])),
        lambda: client.upload(LEASE, file, "weights"),
        lambda: client.fetch_model_file(LEASE, "weights", file),
        lambda: client.fetch_dataset("0" * 64, file),
    ):
        with pytest.raises(ServiceUnavailable):
            call()
    assert seen == [api_key and f"Bearer {api_key}"] * 4


def test_a_connection_is_used_again_at_the_next_renewal(monkeypatch: pytest.MonkeyPatch) -> None:
    connections = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            connections.append(self)
            super().setup()

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            body = b'{"leases": []}'
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    now = time.monotonic
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        Thread(target=server.serve_forever, daemon=True).start()
        client = ServiceClient(f"http://127.0.0.1:{server.server_port}")
        n_connections = []
        for idle_seconds in (0.0, KEPT_SECONDS - 1, 2 * KEPT_SECONDS):
            monkeypatch.setattr(time, "monotonic", lambda seconds=idle_seconds: now() + seconds)
            client.heartbeat(HeartbeatRequest(leases=[]))
            n_connections.append(len(connections))
        client.close()
        server.shutdown()
    assert n_connections == [1, 1, 2]
