"""Real processes, really killed: no trial is lost, none runs twice to an end, the best is the best."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from spezia.client import Client
from spezia.common.home_lock import find
from spezia.contract.study import Study
from tests.trainer import tiny
from trainer.supervisor.end_on_signals import GIVE_BACK_SECONDS, SAVE_SECONDS

ROOT = Path(__file__).parent.parent.parent
DEADLINE_SECONDS = 60.0
GONE_SECONDS = SAVE_SECONDS + GIVE_BACK_SECONDS
"""Time after which nothing is left of a service that was killed."""

Found = TypeVar("Found")


def eventually(look: Callable[[], Found | None]) -> Found:
    """Look until there is something to see: real processes have no fake clock."""
    until = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < until:
        if found := look():
            return found
        time.sleep(0.02)
    raise AssertionError(f"nothing came of it in {DEADLINE_SECONDS} s")


Living = tuple[int, int]
"""A process: its id, which another one may have later, and when it began."""


def living() -> dict[Living, int]:
    """All processes that live, and the ids of their parents; one that only waits to be buried lives no more."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            # pid (name) state ppid …; the name may hold anything but its last bracket is ours
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if fields[0] != "Z":
            found[int(folder.name), int(fields[19])] = int(fields[1])
    return found


def descendants(pid: int) -> set[Living]:
    """The processes that a process has begun, and those that these have."""
    parents, found, ids = living(), set[Living](), {pid}
    while more := {one for one, parent in parents.items() if parent in ids} - found:
        found |= more
        ids = {number for number, _ in more}
    return found


@dataclass(frozen=True)
class Survivors:
    """Workers and engines of a service that was killed."""

    processes: set[Living]
    until: float
    """When the last of them must be gone, by the monotonic clock."""

    def assert_gone(self) -> None:
        """Wait for their end, and expect it within the time that docs/reliability.md states."""
        while left := self.processes & living().keys():
            if time.monotonic() >= self.until:
                for number, _ in left:
                    os.kill(number, signal.SIGKILL)
                raise AssertionError(f"still there after {GONE_SECONDS:g} s: {left}")
            time.sleep(0.02)


class Serving:
    """One service process after another, on one home."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.script = folder / "script.json"
        self.script.write_text("{}")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Client:
        command = [sys.executable, "-m", "tests.e2e.serve_with_fake_engine", str(self.home), str(self.script), "2"]
        self._process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
        pid = self._process.pid
        return Client(eventually(lambda: self._url_of(pid)))

    def kill(self) -> "Survivors":
        """Kill the service, and return what it has left behind: its workers and their engines."""
        assert self._process is not None
        left = descendants(self._process.pid)
        self._process.kill()
        self._process.wait()
        return Survivors(left, time.monotonic() + GONE_SECONDS)

    def end(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(30)

    def _url_of(self, pid: int) -> str | None:
        running = find(self.home)
        return running.url if running is not None and running.pid == pid else None


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Serving]:
    serving = Serving(tmp_path)
    yield serving
    serving.end()


def assert_whole(client: Client, study: Study) -> None:
    """Exactly ``n_trials`` trials, no number twice, none RUNNING, the best the best of the COMPLETE ones."""
    trials = list(client.list_trials(study.name))
    assert study.state == "complete"
    assert [trial.number for trial in trials] == list(range(study.spec.n_trials))
    assert {trial.state for trial in trials} <= {"COMPLETE", "PRUNED", "FAIL"}
    complete = {trial.number: trial.value for trial in trials if trial.state == "COMPLETE" and trial.value is not None}
    best = client.best(study.name)
    assert best.value == min(complete.values())
    assert best.number == min(number for number, value in complete.items() if value == best.value)


def spec(**changes: Any) -> Any:
    return tiny.make_spec(name="killed", fixed={"epochs": 3}, sampler={"name": "random"}, **changes)


@pytest.mark.slow
def test_the_service_is_killed_twice_in_the_middle_of_a_study(serving: Serving) -> None:
    client = serving.start()
    client.create_study(spec(n_trials=40, pruner={"name": "median"}))
    for enough in (5, 15):
        wait_for_trials(client, enough)
        left = serving.kill()
        assert len(left.processes) >= 2, "a worker at least, and its engine"
        client.close()
        client = serving.start()
        left.assert_gone()
    with client:
        wait_for_trials(client, 40)
        assert_whole(client, wait_for_end(client))


def test_a_worker_is_killed_in_the_middle_of_a_trial(serving: Serving, tmp_path: Path) -> None:
    pid_file = tmp_path / "engine.pid"
    stuck = [{"evaluate": 0.5}, {"pid": str(pid_file)}, {"hang": True}]
    serving.script.write_text(json.dumps({"trials": {"3/1": stuck}}))
    with serving.start() as client:
        client.create_study(spec(n_trials=8))
        engine = int(eventually(lambda: pid_file.exists() and pid_file.read_text()))  # type: ignore[arg-type]
        os.kill(parent_of(engine), signal.SIGKILL)
        assert_whole(client, wait_for_end(client))
        attempts = client.get_trial("killed", 3).attempts
        assert [attempt.end for attempt in attempts] == ["lost", "COMPLETE"]
        assert attempts[0].worker_id != attempts[1].worker_id
    eventually(lambda: not Path(f"/proc/{engine}").exists())  # dead at once, and buried by init in its time


def test_nothing_survives_the_service(serving: Serving, tmp_path: Path) -> None:
    pid_file = tmp_path / "engine.pid"
    serving.script.write_text(json.dumps({"trials": {"0": [{"pid": str(pid_file)}, {"hang": True}]}}))
    with serving.start() as client:
        client.create_study(spec(n_trials=1))
        engine = int(eventually(lambda: pid_file.exists() and pid_file.read_text()))  # type: ignore[arg-type]
        worker = parent_of(engine)
        left = serving.kill()
        assert {worker, engine} <= {number for number, _ in left.processes}
        left.assert_gone()


def wait_for_trials(client: Client, count: int) -> None:
    eventually(lambda: client.get_study("killed").n_finished >= count)


def wait_for_end(client: Client) -> Study:
    eventually(lambda: client.get_study("killed").finished_at)
    return client.get_study("killed")


def parent_of(pid: int) -> int:
    # pid (name) state ppid …; the name may hold anything but its last bracket is ours
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
