"""What a hostile caller costs a service, before and after its bounds: each case over HTTP on a service of its own.

    PYTHONPATH=. python benchmarks/hostile.py [--before FOLDER] [--database postgresql] [--case NAME]

``--before`` is a checkout of older code, which is measured first. Prints one JSON line a case. While the hostile calls
run, `/healthz` is asked every 20 ms and, where a case is about workers, a live lease is renewed as often. Seconds are
wall time, ``cpu_seconds`` the service's own; ``peak_mb`` is by how much its memory grew meanwhile.
"""

import argparse
import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any
from uuid import uuid4

from tests import postgres
from tests.service.hand_worker import FACTS

ROOT = Path(__file__).parent.parent
PATIENCE_SECONDS = 300.0
PROBE_SECONDS = 0.02
N_SLOW = 40
"""Connections that send a byte now and then."""
SLOW_SECONDS = 12.0
"""For so long they are watched."""

SPEC: dict[str, Any] = {
    "task": "script",
    "script": "train.py",
    "objective": {"metric": "loss", "direction": "minimize"},
    "search_space": {"x": {"type": "float", "low": 0.0, "high": 1.0}},
    "sampler": {"name": "random"},
}
Figures = dict[str, Any]
NONE: Mapping[str, str] = MappingProxyType({})
JSON = {"Content-Type": "application/json"}


@dataclass
class Service:
    """A service that is measured."""

    port: int
    pid: int

    def call(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] = NONE) -> tuple[int, Any]:
        """Send ``body``, JSON unless it is bytes; return status and answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_SECONDS)
        try:
            is_raw = isinstance(body, bytes)
            content = body if is_raw or body is None else json.dumps(body, separators=(",", ":")).encode()
            kind = {} if is_raw or body is None else {"Content-Type": "application/json"}
            connection.request(method, path, content, {**kind, **headers})
            answer = connection.getresponse()
            text = answer.read()
            return answer.status, json.loads(text) if text[:1] in (b"{", b"[") else text
        finally:
            connection.close()

    def must(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] = NONE) -> Any:
        """As `call`, for what has to go well; return the answer."""
        status, answer = self.call(method, path, body, headers)
        assert status < 300, (status, answer)
        return answer

    def take(self, study: str) -> dict[str, Any]:
        """What a new worker is given, which has to be of this study."""
        device = {"kind": "cpu", "name": "none", "memory_bytes": 0, "bf16": False}
        worker = {"worker_id": uuid4().hex, "host": "here", "device": device, "versions": {}, "protocol": 1}
        self.must("POST", "/v1/workers", worker)
        wanted = {"slots": 1, "wait_seconds": 5.0}
        (taken,) = self.must("POST", f"/v1/workers/{worker['worker_id']}/dispatch", wanted)["assignments"]
        assert taken["study"] == study
        held: dict[str, Any] = taken
        return held

    def held_trial(self, study: str) -> dict[str, Any]:
        """Create a study that runs one trial at a time, and take its first."""
        self.must("POST", "/v1/studies", SPEC | {"name": study, "n_parallel": 1})
        self.must(*facts_of(self.take(study)))
        return self.take(study)


def facts_of(held: dict[str, Any]) -> tuple[str, str, Figures, dict[str, str]]:
    """The call that ends a `prepare`."""
    outcome = {"kind": "prepare", "facts": FACTS, "device_seconds": 1.0}
    return "POST", f"/v1/leases/{held['lease_id']}/tell", outcome, {"Lease-Token": held["token"]}


class Probe:
    """Makes a call again and again, and keeps how long it took."""

    def __init__(self, call: Callable[[], object]) -> None:
        self._call = call
        self._seconds: list[float] = []
        self._answers: Counter[str] = Counter()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Probe":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def figures(self) -> Figures:
        worst = max(self._seconds, default=0.0)
        return {"worst_ms": round(1e3 * worst, 1), "n": len(self._seconds), "answers": dict(self._answers)}

    def _run(self) -> None:
        while not self._ended.wait(PROBE_SECONDS):
            began = time.perf_counter()
            try:
                self._answers[str(self._call())] += 1
            except OSError as error:
                self._answers[type(error).__name__] += 1
            self._seconds.append(time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--before", type=Path, help="folder of older code")
    parser.add_argument("--database", default="sqlite", choices=["sqlite", "postgresql"])
    parser.add_argument("--case", action="append", choices=list(CASES))
    options = parser.parse_args()
    for name in options.case or CASES:
        line: Figures = {"case": name, "database": options.database}
        for label, code in {"before": options.before, "after": ROOT}.items():
            if code is not None:
                line[label] = measure(code, options.database, CASES[name])
        print(json.dumps(line), flush=True)


def measure(code: Path, database: str, case: Callable[[Service], Figures]) -> Figures:
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        service = stack.enter_context(serving(code, database, Path(folder)))
        with Probe(lambda: service.call("GET", "/healthz")[0]) as health:
            figures = case(service)
        return figures | {"healthz": health.figures()}


@contextlib.contextmanager
def _postgres() -> Iterator[str]:
    with postgres.own_server() as server, postgres.database(server.url) as url:
        yield url


@contextlib.contextmanager
def serving(code: Path, database: str, folder: Path) -> Iterator[Service]:
    """Run the service of this code, without workers, on a database of its own."""
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(_postgres()) if database == "postgresql" else f"sqlite:///{folder}/spezia.db"
        yield from _serving(code, url, folder)


def _serving(code: Path, url: str, folder: Path) -> Iterator[Service]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    program = "spezia.cli" if (code / "spezia" / "cli").exists() else "service.cli"
    command = [sys.executable, "-m", program, "serve", "--workers", "0", "--port", str(port)]
    settings = {
        "PYTHONPATH": str(code),
        "SPEZIA_HOME": str(folder / "home"),
        "SPEZIA_DATABASE_URL": url,
        "SPEZIA_REQUESTS_PER_MINUTE": "1000000",
    }
    with (folder / "service.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=code, env=os.environ | settings, stderr=log)
    try:
        service = Service(port, process.pid)
        while process.poll() is None:
            with contextlib.suppress(ConnectionError):
                service.call("GET", "/readyz")
                break
            time.sleep(0.1)
        yield service
    finally:
        process.kill()
        process.wait()


def answered(service: Service, method: str, path: str, body: Any, headers: Mapping[str, str] = NONE) -> Figures:
    """What one call costs."""
    size = len(body if isinstance(body, bytes) else json.dumps(body, separators=(",", ":")))
    cpu, memory, began = cpu_seconds(service.pid), peak_mb(service.pid), time.perf_counter()
    status = service.call(method, path, body, headers)[0]
    seconds = time.perf_counter() - began
    return {
        "bytes": size,
        "status": status,
        "seconds": round(seconds, 3),
        "cpu_seconds": round(cpu_seconds(service.pid) - cpu, 2),
        "peak_mb": round(peak_mb(service.pid) - memory, 1),
    }


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_mb(pid: int) -> float:
    """Most memory that a process has used."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1000


def beside_a_heartbeat(service: Service, act: Callable[[], Figures]) -> Figures:
    """Act while another study's lease is renewed."""
    held = service.held_trial("another-study")
    lease = {"leases": [{"lease_id": held["lease_id"], "token": held["token"]}]}
    with Probe(lambda: service.call("POST", "/v1/leases/heartbeat", lease)[0]) as heartbeat:
        figures = act()
    return figures | {"heartbeat": heartbeat.figures()}


def deep_when(service: Service) -> Figures:
    """20 parameters, each with 16 others that it depends on, in a circle."""
    names = [f"p{index:02}" for index in range(20)]
    space: dict[str, Any] = {}
    for index, name in enumerate(names):
        others = [names[(index + step) % 20] for step in range(1, 17)]
        branches = [dict.fromkeys(others[:8], 0), dict.fromkeys(others[8:], 1)]
        space[name] = [{"type": "categorical", "choices": [0, 1], "when": when} for when in branches]
    return answered(service, "POST", "/v1/studies:validate", SPEC | {"search_space": space})


def many_cases(service: Service) -> Figures:
    """13 parameters of two values that 50 others depend on: 8,192 cases for each of them."""
    parents = [f"p{index:02}" for index in range(13)]
    space: dict[str, Any] = {name: {"type": "categorical", "choices": [0, 1]} for name in parents}
    for index in range(50):
        when = {parents[index % 13]: 0, parents[(index + 1) % 13]: 0}
        space[f"c{index:02}"] = {"type": "int", "low": 0, "high": 1, "when": when}
    spec = SPEC | {"search_space": space}
    return beside_a_heartbeat(
        service,
        lambda: {
            "validate": answered(service, "POST", "/v1/studies:validate", spec),
            "create": answered(service, "POST", "/v1/studies", spec | {"name": "many-cases"}),
        },
    )


def enqueue_20000(service: Service) -> Figures:
    """As many params to try first as 500 KB hold."""
    return _enqueue(service, 20_000)


def enqueue_1000(service: Service) -> Figures:
    """As many as may be posted now."""
    return _enqueue(service, 1_000)


def _enqueue(service: Service, n: int) -> Figures:
    params = [{"x": 1 / (2 + index)} for index in range(n)]
    spec = SPEC | {"name": "enqueue", "n_trials": 100_000, "enqueue": params}

    def act() -> Figures:
        posted = answered(service, "POST", "/v1/studies", spec)
        if posted["status"] != 201:
            return {"posted": posted}
        return {"posted": posted, "told": answered(service, *facts_of(service.take("enqueue")))}

    return beside_a_heartbeat(service, act)


def unknown_fields(service: Service) -> Figures:
    """40,000 fields that nobody knows."""
    spec = SPEC | {f"field_{index}": 1 for index in range(40_000)}
    return answered(service, "POST", "/v1/studies:validate", spec)


def unknown_fixed(service: Service) -> Figures:
    """40,000 fixed params that are no hyperparameters."""
    spec = SPEC | {"task": "text-classification", "fixed": {f"param_{index}": 1 for index in range(40_000)}}
    return answered(service, "POST", "/v1/studies:validate", spec)


def field_twice(service: Service) -> Figures:
    """20,000 fields of which the last comes twice."""
    names = [*(f"{index:x}" for index in range(20_000)), "4e1f"]
    body = b"{" + b",".join(b'"%s":1' % name.encode() for name in names) + b"}"
    return answered(service, "POST", "/v1/studies:validate", body, JSON)


def brackets(service: Service) -> Figures:
    """Half a million lists in 1 MiB."""
    body = b"[" + b",".join([b"[" * 500 + b"]" * 500] * 1_000) + b"]"
    return answered(service, "POST", "/v1/studies:validate", body, JSON)


def slow_datasets(service: Service) -> Figures:
    """Data sets that are uploaded a byte at a time."""
    return beside_a_heartbeat(service, lambda: _trickle(service, "POST", "/v1/datasets", NONE))


def slow_studies(service: Service) -> Figures:
    """Studies that are posted a byte at a time."""
    return beside_a_heartbeat(service, lambda: _trickle(service, "POST", "/v1/studies", JSON))


def slow_models(service: Service) -> Figures:
    """Models that are uploaded over a slow line."""
    held = service.held_trial("slow-models")
    path = f"/v1/leases/{held['lease_id']}/artifacts/model.safetensors"
    token = {"Lease-Token": held["token"]}
    return beside_a_heartbeat(service, lambda: _trickle(service, "PUT", path, token))


def _trickle(service: Service, method: str, path: str, headers: Mapping[str, str]) -> Figures:
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", "Content-Length: 1000000"]
    head = "\r\n".join([*lines, *(f"{name}: {value}" for name, value in headers.items())]) + "\r\n\r\n"
    connections = [socket.create_connection(("127.0.0.1", service.port)) for _ in range(N_SLOW)]
    for connection in connections:
        connection.sendall(head.encode())
    until = time.monotonic() + SLOW_SECONDS
    while time.monotonic() < until:
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.sendall(b"x")
        time.sleep(0.5)
    for connection in connections:
        connection.close()
    return {"connections": N_SLOW, "seconds": SLOW_SECONDS}


def cross_site(service: Service) -> Figures:
    """What a page of another site makes a browser send to an open service on loopback."""
    service.must("POST", "/v1/studies", SPEC | {"name": "cross-site"})
    calls = {
        "pause": ("POST", "/v1/studies/cross-site/pause", b"", "text/plain"),
        "upload": ("POST", "/v1/datasets", b"text,label\na,b\n", "text/plain"),
        "form": ("POST", "/v1/studies/cross-site/cancel", b"a=b", "application/x-www-form-urlencoded"),
    }
    origins = ("https://evil.example", "null", f"http://127.0.0.1:{service.port}")
    return {
        f"{name} from {origin.rpartition(':')[0] if origin[-1].isdigit() else origin}": service.call(
            method, path, body, {"Origin": origin, "Content-Type": kind}
        )[0]
        for name, (method, path, body, kind) in calls.items()
        for origin in origins
    }


CASES: dict[str, Callable[[Service], Figures]] = {
    case.__name__: case
    for case in (
        deep_when,
        many_cases,
        enqueue_20000,
        enqueue_1000,
        unknown_fields,
        unknown_fixed,
        field_twice,
        brackets,
        slow_datasets,
        slow_studies,
        slow_models,
        cross_site,
    )
}

if __name__ == "__main__":
    main()
