"""Two services behind nginx, as examples/deploy/nginx.conf has it, one of them killed while workers are at work."""

import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import pytest

from service.lifecycle.studies.create_study import create_study
from service.lifecycle.studies.plan_study import plan_study
from spezia import Client
from tests.faults.processes import Service, eventually, free_port, service_of
from tests.faults.test_services import GOOD, seen
from tests.faults.wire import NAME, Far, engine_of, search, work
from tests.service.hand_worker import spec

pytestmark = [
    pytest.mark.slow,
    pytest.mark.parametrize("database_url", ["postgresql"], indirect=True),
]
CONFIGURATION = Path(__file__).parents[2] / "examples" / "deploy" / "nginx.conf"
PROGRAM = "SPEZIA_TEST_NGINX"
"""Environment variable: path of an nginx that is not in the PATH."""
N_TRIALS = 40
N_WORKERS = 4


@pytest.fixture(scope="module")
def nginx() -> str:
    """The program; tests are skipped where there is none, but in CI."""
    program = os.environ.get(PROGRAM) or shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None and not os.environ.get("CI"):
        pytest.skip(f"no nginx; install Debian's package nginx-light, or set {PROGRAM}")
    assert program is not None
    return program


@contextmanager
def proxy(nginx: str, services: list[Service], folder: Path) -> Iterator[str]:
    """Run nginx before ``services``; yield its address."""
    port = free_port()
    ports = {8080: port, 8765: services[0].port, 8766: services[1].port}
    text = CONFIGURATION.read_text()
    for written, used in ports.items():
        assert text.count(f"127.0.0.1:{written}") == 1
        text = text.replace(f"127.0.0.1:{written}", f"127.0.0.1:{used}")
    for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"):
        text = text.replace("http {\n", f"http {{\n    {kind}_temp_path {folder}/{kind};\n", 1)
    text = text.replace("http {\n", f"http {{\n    access_log {folder}/access.log;\n", 1)
    (folder / "nginx.conf").write_text(text)
    directives = f"daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/error.log;"
    command = [nginx, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-g", directives]
    with (folder / "output").open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            eventually(lambda: _answers(url, process))
            yield url
        finally:
            process.kill()


def _answers(url: str, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, "nginx has ended"
    try:
        return httpx2.get(f"{url}/healthz").status_code == 200
    except httpx2.TransportError:
        return False


@contextmanager
def behind_nginx(nginx: str, folder: Path, database_url: str) -> Iterator[tuple[str, list[Service], Far]]:
    """Two services behind nginx: its address, the services, and what they have stored."""
    with ExitStack() as stack:
        services = [stack.enter_context(service_of(folder / name, database_url, folder)) for name in ("one", "two")]
        for service in services:
            service.start()
        far = stack.enter_context(seen(services[0]))
        (folder / "nginx").mkdir()
        yield stack.enter_context(proxy(nginx, services, folder / "nginx")), services, far


@dataclass
class Reader:
    """Follows the events of the study through the proxy, and comes back after each interruption."""

    url: str
    ids: list[int] = field(default_factory=list)

    def follow(self) -> None:
        is_over = False
        while not is_over:
            last = {"Last-Event-ID": str(self.ids[-1] if self.ids else 0)}
            try:
                with httpx2.stream("GET", f"{self.url}/v1/studies/{NAME}/events", headers=last, timeout=30.0) as stream:
                    for line in stream.iter_lines():
                        name, _, content = line.partition(": ")
                        if name == "id":
                            self.ids.append(int(content))
                        is_over = is_over or (name == "data" and json.loads(content).get("state") == "complete")
            except httpx2.TransportError:
                time.sleep(0.05)


def test_services_killed_under_load_cost_nothing_that_a_retry_does_not_cure(
    nginx: str, tmp_path: Path, database_url: str
) -> None:
    with behind_nginx(nginx, tmp_path, database_url) as (url, services, far):
        create_study(far.store, plan_study(search(N_TRIALS)))
        engine = engine_of(tmp_path, {"*": GOOD})
        reader = Reader(url)
        threads = [threading.Thread(target=work, args=(far, url, engine)) for _ in range(N_WORKERS)]
        threads.append(threading.Thread(target=reader.follow))
        for thread in threads:
            thread.start()
        with Client(url) as client:  # raises what its retries do not cure
            for turn, victim in enumerate((services[0], services[1], services[0]), start=1):
                before = turn * N_TRIALS // 5
                eventually(lambda: client.get_study(NAME).n_finished >= before)  # noqa: B023
                victim.end()
                eventually(lambda: client.get_study(NAME).n_finished >= before + 3)  # noqa: B023
                victim.start()
            for thread in threads:
                thread.join(120)
            study = client.get_study(NAME)
            assert (study.state, study.trials.complete, study.n_finished) == ("complete", N_TRIALS, N_TRIALS)
        assert [thread.is_alive() for thread in threads] == [False] * len(threads)
        assert reader.ids == sorted(set(reader.ids)), "no event came twice"
        told = httpx2.get(f"{url}/v1/studies/{NAME}/events").text
        assert reader.ids == [int(line[4:]) for line in told.splitlines() if line.startswith("id: ")], (
            "and none is missing"
        )
        far.check()


def test_streams_and_long_polls_pass_at_once(nginx: str, tmp_path: Path, database_url: str) -> None:
    with behind_nginx(nginx, tmp_path, database_url) as (url, _, _), Client(url) as client:
        heard = threading.Event()

        def listen() -> None:
            with httpx2.stream("GET", f"{url}/v1/events", timeout=30.0) as stream:
                assert "x-accel-buffering" not in stream.headers, "nginx obeys it and keeps it to itself"
                for line in stream.iter_lines():
                    if line == "event: ready":
                        heard.set()
                    if line == "event: study":
                        return

        listener = threading.Thread(target=listen)
        listener.start()
        assert heard.wait(20), "the first event is not held back"
        began = time.monotonic()
        registration = {
            "worker_id": "0" * 32,
            "host": "here",
            "device": {"kind": "cpu", "name": "a hand", "memory_bytes": 0, "bf16": False},
            "versions": {},
            "protocol": 1,
        }
        assert httpx2.post(f"{url}/v1/workers", json=registration).status_code == 201
        empty = httpx2.post(f"{url}/v1/workers/{'0' * 32}/dispatch", json={"wait_seconds": 2.0}, timeout=30.0)
        assert (empty.status_code, empty.json()["assignments"]) == (200, [])
        assert time.monotonic() - began >= 2.0
        assert httpx2.post(f"{url}/v1/studies", json=spec()).status_code == 201
        listener.join(20)
        assert not listener.is_alive(), "nor is what comes later"
        assert [one.name for one in client.list_studies()] == ["feedback"]
