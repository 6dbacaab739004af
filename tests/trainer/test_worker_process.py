"""`spezia-worker` as a real process with a scripted engine: whatever is killed, nothing survives it."""

import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests import fake_engine
from tests.fake_service import FakeService, assignment, served
from tests.mortal_parent import SECONDS, MortalParent
from tests.trainer.supervisor.test_supervisor import GOOD, is_dead

LAUNCHER = """
import subprocess, sys
worker = subprocess.Popen(sys.argv[2:], stdin=subprocess.PIPE)
open(sys.argv[1], "w").write(str(worker.pid))
worker.wait()
"""


class Scene:
    """A service with one trial that never ends, and what a worker is started with."""

    def __init__(self, folder: Path, server: str, service: FakeService) -> None:
        self.service = service
        self.engine_pid_file = folder / "engine"
        script = folder / "script.json"
        hang = [{"pid": str(self.engine_pid_file)}, {"hang": True}]
        script.write_text(json.dumps({"trials": {"0/1": hang, "*": GOOD}}))
        engine = shlex.join([sys.executable, "-P", fake_engine.__file__, "--script", str(script)])
        self.command = [sys.executable, "-P", "-m", "trainer.cli", "--server", server, "--engine", engine]

    def wait_for_engine(self) -> int:
        until(self.engine_pid_file.exists)
        return int(self.engine_pid_file.read_text())

    def hold_release(self) -> tuple[threading.Event, threading.Event]:
        """Let a release stand in the service: set when it has come, and to be set before it is answered."""
        is_releasing, may_answer = threading.Event(), threading.Event()

        def block(request: object) -> None:
            if self.service.calls[-1].endswith("/release"):
                is_releasing.set()
                may_answer.wait(SECONDS)

        self.service.fault = block
        return is_releasing, may_answer


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    service = FakeService(assignment(number=0))
    with served(service) as server:
        yield Scene(tmp_path, server, service)


@pytest.fixture
def processes() -> Iterator[ExitStack]:
    """Kills what a failing test leaves behind."""
    with ExitStack() as stack:
        yield stack


def start(processes: ExitStack, command: list[str]) -> subprocess.Popen[bytes]:
    process = processes.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL))
    processes.callback(process.kill)
    return process


def test_engine_dies_with_its_killed_supervisor(scene: Scene, processes: ExitStack) -> None:
    worker = start(processes, scene.command)
    engine = scene.wait_for_engine()
    worker.kill()
    until(lambda: is_dead(engine))


def test_killed_engine_fails_the_trial_and_the_next_one_runs(scene: Scene, processes: ExitStack) -> None:
    start(processes, scene.command)
    scene.service.assignments.append(assignment(number=1))
    os.kill(scene.wait_for_engine(), signal.SIGKILL)
    until(lambda: len(scene.service.outcomes) == 2)
    assert "died by signal 9 (SIGKILL)" in scene.service.outcomes[0]["failure"]["message"]
    assert scene.service.outcomes[1]["state"] == "COMPLETE"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_gives_the_trial_back(scene: Scene, processes: ExitStack, number: signal.Signals) -> None:
    worker = start(processes, scene.command)
    engine = scene.wait_for_engine()
    worker.send_signal(number)
    assert worker.wait(SECONDS) == 0
    assert scene.service.released == ["preempted"]
    assert is_dead(engine)


def test_second_signal_ends_at_once(scene: Scene, processes: ExitStack) -> None:
    is_releasing, may_answer = scene.hold_release()
    worker = start(processes, scene.command)
    scene.wait_for_engine()
    worker.terminate()
    assert is_releasing.wait(SECONDS)
    worker.terminate()
    assert worker.wait(SECONDS) == 128 + signal.SIGTERM
    may_answer.set()


def test_idle_worker_ends_at_once_on_sigterm(scene: Scene, processes: ExitStack) -> None:
    scene.service.assignments.clear()
    worker = start(processes, scene.command)
    until(lambda: any("dispatch" in call for call in scene.service.calls))
    worker.terminate()
    assert worker.wait(SECONDS) == 0
    assert scene.service.released == []


def test_worker_ends_when_its_launcher_closes_the_pipe(scene: Scene, processes: ExitStack) -> None:
    worker = start(processes, [*scene.command, "--exit-with-parent"])
    engine = scene.wait_for_engine()
    assert worker.stdin is not None
    worker.stdin.close()
    assert worker.wait(SECONDS) == 0
    assert scene.service.released == ["preempted"]
    assert is_dead(engine)


@pytest.mark.parametrize("pipe_first", [True, False])
def test_worker_ends_in_order_by_pipe_and_by_kernel_at_once(
    scene: Scene, processes: ExitStack, pipe_first: bool
) -> None:
    is_releasing, may_answer = scene.hold_release()
    launcher = MortalParent([*scene.command, "--exit-with-parent"], processes)
    engine = scene.wait_for_engine()
    ends = [launcher.close_pipe, launcher.end]
    first, second = ends if pipe_first else reversed(ends)
    first()
    assert is_releasing.wait(SECONDS)
    second()
    may_answer.set()
    assert launcher.process.wait(SECONDS) == 0
    assert scene.service.released == ["preempted"]
    assert is_dead(engine)


def test_nothing_survives_a_killed_launcher(scene: Scene, processes: ExitStack, tmp_path: Path) -> None:
    pid_file = tmp_path / "worker"
    worker_command = [*scene.command, "--exit-with-parent"]
    launcher = start(processes, [sys.executable, "-c", LAUNCHER, str(pid_file), *worker_command])
    engine = scene.wait_for_engine()
    launcher.kill()
    until(lambda: is_dead(int(pid_file.read_text())) and is_dead(engine))
    assert scene.service.released == ["preempted"]


def until(condition: Callable[[], bool]) -> None:
    """Wait for another process."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        threading.Event().wait(0.01)
