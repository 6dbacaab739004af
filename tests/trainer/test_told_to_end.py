"""F61 and F62: a worker that is told to end is gone within its time, whatever it waits for.

Its times are shortened here. All else is real: a `spezia-worker` with a scripted engine, and a service that fails at
one of its calls.
"""

import itertools
import json
import shlex
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import httpx2
import pytest

from spezia.common.worker_processes import GRACE_SECONDS
from spezia.contract.assignments import Assignment, Resume, SentCheckpoint
from tests import fake_engine
from tests.fake_service import SPEC, FakeService, assignment, served
from tests.faults.processes import SECONDS, eventually, is_dead
from tests.trainer.test_worker_process import LAUNCHER, start
from trainer.supervisor.end_on_signals import GIVE_BACK_SECONDS, SAVE_SECONDS

SHORT = (0.8, 0.4)
"""To save and to give back, in these tests."""
BUSY_SECONDS = 7.0
"""What a busy machine may add; less than the 10 s after which a call that is never answered ends by itself."""
WORKER = f"""
from trainer import cli
from trainer.supervisor import end_on_signals
end_on_signals.SAVE_SECONDS, end_on_signals.GIVE_BACK_SECONDS = {SHORT}
"""
STUCK = """
import ctypes, pathlib
from trainer.supervisor.client import ServiceClient
def wait_as_no_signal_interrupts(*arguments):
    pathlib.Path({file!r}).touch()
    mutex, libc = ctypes.create_string_buffer(64), ctypes.CDLL(None)
    libc.pthread_mutex_lock(mutex)
    libc.pthread_mutex_lock(mutex)
ServiceClient.{verb} = wait_as_no_signal_interrupts
"""

Fault = Literal["silence", "trickle", "503", "gone"]
"""No answer; one that never ends; 503 each time; this call and all others after it are hung up on."""
Way = Literal["pipe", "signal", "both"]
"""The launcher closes the pipe, sends SIGTERM, or is killed, which does both."""

ENDPOINTS = {
    *("workers", "dispatch", "heartbeat", "report", "log", "artifacts", "tell", "release", "model", "datasets"),
    *("checkpoint", "pretrained"),
}
HANG = {"hang": True}
FINAL = {"evaluate": 0.5, "final": True}


@dataclass(frozen=True)
class Call:
    """A call that a worker makes, and what has it make that call."""

    endpoint: str
    work: Assignment | None
    actions: tuple[dict[str, Any], ...] = (FINAL,)
    tell_at: str | None = None
    """The call at which the worker is told to end, if not at this one."""


def on_uploaded_data() -> Assignment:
    assert SPEC.data is not None
    data = SPEC.data.model_copy(update={"train": f"sha256:{'0' * 64}"})
    return assignment(spec=SPEC.model_copy(update={"data": data}))


SENT = SentCheckpoint(size_bytes=1, sha256="0" * 64)


def on_an_uploaded_model() -> Assignment:
    assert SPEC.model is not None
    model = SPEC.model.model_copy(update={"name": f"sha256:{'0' * 64}"})
    return assignment(spec=SPEC.model_copy(update={"model": model}))


CALLS = {
    "register": Call("workers", None),
    "dispatch": Call("dispatch", None),
    "heartbeat": Call("heartbeat", assignment(), (HANG,)),
    "report": Call("report", assignment(), ({"evaluate": 0.5}, HANG)),
    "last report": Call("report", assignment()),
    "log": Call("log", assignment(), ({"print": "a line"}, FINAL)),
    "upload": Call("artifacts", assignment()),
    "tell": Call("tell", assignment()),
    "tell of a preparation": Call("tell", assignment("prepare")),
    "release": Call("release", assignment(), (HANG,), tell_at="heartbeat"),
    "model": Call("model", assignment("score")),
    "data set": Call("datasets", on_uploaded_data()),
    "checkpoint": Call("checkpoint", assignment(resume=Resume(attempt=1, step=1, sent=SENT))),
    "pretrained model": Call("pretrained", on_an_uploaded_model()),
}
ALL = list(itertools.product(CALLS, get_args(Fault), get_args(Way)))
QUICK = [ALL[12 * index + 5 * index % 12] for index in range(0, len(CALLS), 2)]
"""Every other call, each with another way to fail or to tell."""


def slow(*names: str) -> list[Any]:
    return [pytest.param(name, marks=pytest.mark.slow) for name in names]


class FailsAt:
    """The fault of a service that fails at one call."""

    def __init__(self, call: Call, fault: Fault) -> None:
        self.is_to_be_told = threading.Event()
        self.is_over = threading.Event()
        self._call = call
        self._fault = fault
        self._is_gone = False

    def __call__(self, request: httpx2.Request) -> httpx2.Response | None:
        endpoint = next(part for part in reversed(request.url.path.split("/")) if part in ENDPOINTS)
        if endpoint == (self._call.tell_at or self._call.endpoint):
            self.is_to_be_told.set()
        if endpoint != self._call.endpoint and not self._is_gone:
            return None
        if self._fault == "503":
            return httpx2.Response(503)
        if self._fault == "trickle":
            return httpx2.Response(200, headers={"Content-Length": "1000000"}, content=self._trickle())
        self._is_gone = self._fault == "gone"
        if not self._is_gone:
            self.is_over.wait(SECONDS)
        raise ConnectionError("hung up")

    def _trickle(self) -> Iterator[bytes]:
        while not self.is_over.wait(0.05):
            yield b" "


class Scene:
    """Where workers are started and told to end."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._stack = stack

    def serve(self, call: Call, fault: Callable[[httpx2.Request], httpx2.Response | None]) -> tuple[FakeService, str]:
        service = FakeService(*([call.work] if call.work else []))
        service.answer = lambda report: {"keep_model": report.final}
        service.fault = fault
        return service, self._stack.enter_context(served(service))

    def start(self, server: str, way: Way, actions: tuple[dict[str, Any], ...], program: str = WORKER) -> "Worker":
        script, pid_file = self._folder / "script.json", self._folder / "worker"
        script.write_text(json.dumps({"trials": {"*": actions}}))
        engine = shlex.join([sys.executable, "-P", fake_engine.__file__, "--script", str(script)])
        command = [sys.executable, "-P", "-c", f"{program}\ncli.main()", "--server", server, "--engine", engine]
        command += ["--exit-with-parent", "--checkpoint-dir", str(self._folder / "checkpoints")]
        if way == "both":
            launcher = start(self._stack, [sys.executable, "-c", LAUNCHER, str(pid_file), *command])
            eventually(lambda: pid_file.exists() and pid_file.read_text() != "")
            return Worker(int(pid_file.read_text()), launcher.kill)
        worker = start(self._stack, command)
        assert worker.stdin is not None
        return Worker(worker.pid, worker.terminate if way == "signal" else worker.stdin.close)


@dataclass(frozen=True)
class Worker:
    """A worker's process, and how it is told to end."""

    pid: int
    tell: Callable[[], object]

    def ends_in_time(self) -> None:
        """Tell it to end, and assert that it and its engine do."""
        engines = [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]
        assert len(engines) == 1
        told_at = time.monotonic()
        self.tell()
        eventually(lambda: is_dead(self.pid))
        assert time.monotonic() - told_at < sum(SHORT) + BUSY_SECONDS
        eventually(lambda: is_dead(engines[0]))


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with ExitStack() as stack:
        yield Scene(tmp_path, stack)


@pytest.mark.parametrize(("name", "fault", "way"), QUICK)
def test_f61_a_worker_ends_in_time_at_a_call(name: str, fault: Fault, way: Way, scene: Scene) -> None:
    end_at(CALLS[name], fault, way, scene)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "fault", "way"), ALL)
def test_f61_a_worker_ends_in_time_whatever_call_it_waits_for(name: str, fault: Fault, way: Way, scene: Scene) -> None:
    end_at(CALLS[name], fault, way, scene)


def end_at(call: Call, fault: Fault, way: Way, scene: Scene) -> None:
    fails = FailsAt(call, fault)
    _, server = scene.serve(call, fails)
    worker = scene.start(server, way, call.actions)
    assert fails.is_to_be_told.wait(SECONDS)
    worker.ends_in_time()
    fails.is_over.set()


@pytest.mark.parametrize(("verb", "way"), [("register", "pipe"), ("report", "signal"), ("tell", "both")])
def test_f62_a_worker_ends_in_time_where_no_signal_interrupts_it(
    verb: str, way: Way, scene: Scene, tmp_path: Path
) -> None:
    is_stuck = tmp_path / "stuck"
    _, server = scene.serve(CALLS["tell"], lambda request: None)
    worker = scene.start(server, way, (FINAL,), WORKER + STUCK.format(file=str(is_stuck), verb=verb))
    eventually(is_stuck.exists)
    worker.ends_in_time()


def test_f62_a_worker_whose_engine_does_not_start_ends_in_time(scene: Scene, tmp_path: Path) -> None:
    started = tmp_path / "engine"
    _, server = scene.serve(CALLS["dispatch"], lambda request: None)
    engine = shlex.join(["sh", "-c", f"touch {shlex.quote(str(started))}; exec sleep 1000"])
    worker = scene.start(server, "both", (), WORKER + f"import sys; sys.argv += ['--engine', {engine!r}]")
    eventually(started.exists)
    worker.ends_in_time()


@pytest.mark.parametrize("name", ["upload", "tell", *slow("last report", "log", "tell of a preparation")])
def test_a_result_in_hand_is_delivered_before_the_worker_ends(name: str, scene: Scene) -> None:
    is_away, may_return = threading.Event(), threading.Event()

    def fault(request: httpx2.Request) -> httpx2.Response | None:
        if CALLS[name].endpoint not in request.url.path or may_return.is_set():
            return None
        is_away.set()
        return httpx2.Response(503)

    service, server = scene.serve(CALLS[name], fault)
    worker = scene.start(server, "signal", CALLS[name].actions, "from trainer import cli")  # with all its time
    assert is_away.wait(SECONDS)
    worker.tell()
    may_return.set()
    eventually(lambda: is_dead(worker.pid))
    assert len(service.outcomes) == 1
    assert service.outcomes[0]["failure"] is None
    assert service.released == []


@pytest.mark.parametrize("name", ["last report", "tell of a preparation", *slow("log", "upload", "tell")])
def test_a_result_that_the_service_does_not_take_is_given_back(name: str, scene: Scene) -> None:
    fails = FailsAt(CALLS[name], "503")
    service, server = scene.serve(CALLS[name], fails)
    worker = scene.start(server, "signal", CALLS[name].actions)
    assert fails.is_to_be_told.wait(SECONDS)
    worker.ends_in_time()
    assert service.released == ["preempted"]
    assert service.outcomes == []


def test_a_worker_has_ended_before_its_launcher_kills_it() -> None:
    assert SAVE_SECONDS + GIVE_BACK_SECONDS < GRACE_SECONDS
