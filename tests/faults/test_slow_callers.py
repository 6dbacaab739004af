"""F63: callers who send next to nothing and do not hang up, on a real service."""

import contextlib
import socket
from collections.abc import Iterator

import httpx2
import pytest

from tests.faults.processes import Service, service_of
from tests.service.hand_worker import HandWorker, spec

N_SLOW = 60
"""More than the service has threads of any kind."""
SECONDS = 20.0
"""In which a call is answered, on a busy machine; a slow body of these tests never ends."""
HEADS = {
    "data sets": "POST /v1/datasets HTTP/1.1\r\n",
    "models": "PUT /v1/leases/{lease_id}/artifacts/model.bin HTTP/1.1\r\nLease-Token: {token}\r\n",
    "studies": "POST /v1/studies HTTP/1.1\r\nContent-Type: application/json\r\n",
    "reports": "POST /v1/leases/report HTTP/1.1\r\nContent-Type: application/json\r\n",
    "logs": "PUT /v1/leases/{lease_id}/log HTTP/1.1\r\nLease-Token: {token}\r\nContent-Type: text/plain\r\n",
}
"""How each request begins."""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    home = tmp_path_factory.mktemp("home")
    with service_of(home, f"sqlite:///{home / 'spezia.db'}") as service:
        service.start()
        yield service


@pytest.mark.parametrize("kind", [*HEADS, "heads"])
def test_f63_slow_callers_hold_up_nobody(service: Service, kind: str) -> None:
    with contextlib.ExitStack() as stack:
        http = stack.enter_context(httpx2.Client(base_url=service.url, timeout=SECONDS))
        study = kind.replace(" ", "-")
        http.post("/v1/studies", json=spec(name=study, n_trials=1))
        worker = HandWorker(http)
        worker.prepare()
        held = worker.take()
        head = HEADS.get(kind, "GET /v1/studies HTTP/1.1\r\n").format(**held) + "Host: 127.0.0.1\r\n"
        for _ in range(N_SLOW):
            caller = stack.enter_context(socket.create_connection(("127.0.0.1", service.port)))
            caller.sendall((head if kind == "heads" else f"{head}Content-Length: 1000\r\n\r\nx").encode())
        for _ in range(5):
            assert http.get("/healthz").status_code == 200
            assert worker.heartbeat(held) == "continue"
        assert worker.report(held, 1, 0.5, final=True)["directive"] == "continue"
        assert worker.upload(held, "model.bin", b"weights").status_code == 204
        assert worker.finish(held).status_code == 200
        assert http.get(f"/v1/studies/{study}").json()["state"] == "complete"
