import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from service.launch.local import WorkerPlan
from spezia.common.worker_processes import LocalWorkers

# Writes what it was given, lives until SIGTERM or the end of stdin as a worker does.
FAKE_WORKER = """
import json, os, signal, sys
from pathlib import Path
folder, *arguments = sys.argv[1:]
worker_id = arguments[arguments.index("--worker-id") + 1]
fate = Path(folder, "fate").read_text() if Path(folder, "fate").exists() else "live"
seen = {"arguments": arguments, "pid": os.getpid(), "gpu": os.environ["CUDA_VISIBLE_DEVICES"]}
seen["key"] = os.environ["SPEZIA_API_KEY"]
if fate == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
Path(folder, worker_id).write_text(json.dumps(seen))
Path(folder, worker_id).replace(Path(folder, worker_id + ".json"))
if fate == "die":
    sys.exit(7)
while fate == "stubborn" or sys.stdin.read(1):
    if fate == "stubborn":
        signal.pause()
"""

Start = Callable[..., LocalWorkers]


def worker_id_of(worker: dict[str, Any]) -> str:
    worker_id: str = worker["arguments"][worker["arguments"].index("--worker-id") + 1]
    return worker_id


def key_of(worker_id: str) -> str:
    return f"the key of {worker_id}"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    launched: list[LocalWorkers] = []
    script = tmp_path / "fake_worker.py"
    script.write_text(FAKE_WORKER)

    def start(n_workers: int, gpus: tuple[str, ...] = (), **options: Any) -> LocalWorkers:
        plan = WorkerPlan(
            server="http://127.0.0.1:1",
            data_roots=[tmp_path / "data"],
            gpus=gpus,
            n_workers=n_workers,
            program=(sys.executable, "-S", str(script), str(tmp_path)),
        )
        launched.append(LocalWorkers(plan, poll_seconds=0.01, **{"on_start": key_of, **options}))
        launched[-1].start()
        return launched[-1]

    yield start
    for workers in launched:
        workers.stop(grace_seconds=0.0)


def test_workers_start_with_their_arguments_and_end_with_stop(start: Start, tmp_path: Path) -> None:
    born: list[str] = []
    dead: list[str] = []

    def note(worker_id: str) -> str:
        born.append(worker_id)
        return key_of(worker_id)

    workers = start(2, on_start=note, on_death=lambda worker_id, _code: dead.append(worker_id))
    seen = wait_for_workers(tmp_path, 2)
    for worker in seen:
        worker_id = worker_id_of(worker)
        assert len(worker_id) == 32
        assert worker["arguments"] == [
            "--server",
            "http://127.0.0.1:1",
            "--exit-with-parent",
            "--data-root",
            str(tmp_path / "data"),
            "--worker-id",
            worker_id,
            "--threads",
            "1",
        ]
        assert worker["gpu"] == ""
        assert worker["key"] == key_of(worker_id)
        assert lives(worker["pid"])
    workers.stop()
    assert not any(lives(worker["pid"]) for worker in seen)
    assert sorted(born) == sorted(dead)
    assert len(set(born)) == 2


def test_gpus_are_dealt_out_in_turn(start: Start, tmp_path: Path) -> None:
    start(3, gpus=("0", "5"))
    assert sorted(worker["gpu"] for worker in wait_for_workers(tmp_path, 3)) == ["0", "0", "5"]


def test_a_dead_worker_is_told_of_and_replaced_under_a_new_id(start: Start, tmp_path: Path) -> None:
    dead: list[str] = []
    now = [0.0]
    start(1, on_death=lambda worker_id, _code: dead.append(worker_id), clock=lambda: now[0])
    (first,) = wait_for_workers(tmp_path, 1)
    now[0] = 100.0
    os.kill(first["pid"], signal.SIGKILL)
    seen = wait_for_workers(tmp_path, 2)
    assert len({worker["pid"] for worker in seen}) == 2
    assert dead == [worker_id_of(first)]


def test_a_worker_that_dies_early_again_and_again_is_replaced_ever_later(start: Start, tmp_path: Path) -> None:
    (tmp_path / "fate").write_text("die")
    dead: list[str] = []
    now = [0.0]
    start(1, on_death=lambda worker_id, _code: dead.append(worker_id), clock=lambda: now[0])
    for n_deaths, waits in [(1, 1.0), (2, 2.0), (3, 4.0)]:
        wait_until(partial(has_length, dead, n_deaths))
        now[0] += waits - 0.1
        time.sleep(0.05)
        assert len(dead) == n_deaths
        assert len(list(tmp_path.glob("*.json"))) == n_deaths
        now[0] += 0.1
    wait_for_workers(tmp_path, 4)


def test_what_does_not_heed_sigterm_is_killed(start: Start, tmp_path: Path) -> None:
    (tmp_path / "fate").write_text("stubborn")
    workers = start(1)
    (worker,) = wait_for_workers(tmp_path, 1)
    workers.stop(grace_seconds=0.1)
    assert not lives(worker["pid"])


def test_a_failing_callback_does_not_end_the_launcher(
    start: Start, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(worker_id: str, _code: int) -> None:
        raise RuntimeError("the database is away")

    workers = start(1, on_death=fail)
    wait_for_workers(tmp_path, 1)
    workers.stop()
    assert "the service did not take note of the end of worker" in caplog.text


def test_a_worker_that_cannot_be_made_known_starts_when_it_can(start: Start, tmp_path: Path) -> None:
    tried: list[str] = []

    def fail_first(worker_id: str) -> str:
        tried.append(worker_id)
        if len(tried) == 1:
            raise RuntimeError("the database is away")
        return key_of(worker_id)

    # every look at the clock is a minute later than the last
    start(1, on_start=fail_first, clock=count(0.0, 60.0).__next__)
    (worker,) = wait_for_workers(tmp_path, 1)
    assert worker["key"] == key_of(tried[1])


def test_a_program_that_does_not_start_is_tried_again(tmp_path: Path) -> None:
    ended: list[str] = []
    plan = WorkerPlan(server="", data_roots=(), gpus=(), n_workers=1, program=(str(tmp_path / "none"),))
    # every look at the clock is a minute later than the last
    clock = count(0.0, 60.0).__next__
    workers = LocalWorkers(
        plan,
        on_start=key_of,
        on_death=lambda worker_id, _code: ended.append(worker_id),
        clock=clock,
        poll_seconds=0.001,
    )
    workers.start()
    wait_until(lambda: len(ended) > 2)
    workers.stop()


def test_workers_end_when_their_launcher_is_killed(tmp_path: Path) -> None:
    (tmp_path / "fake_worker.py").write_text(FAKE_WORKER)
    program = f"""
import sys, time
from service.launch.local import WorkerPlan
from spezia.common.worker_processes import LocalWorkers
plan = WorkerPlan(server="", data_roots=(), gpus=(), n_workers=2,
    program=(sys.executable, "-S", {str(tmp_path / "fake_worker.py")!r}, {str(tmp_path)!r}))
LocalWorkers(plan, on_start=str).start()
time.sleep(60)
"""
    launcher = subprocess.Popen([sys.executable, "-c", program])
    seen = wait_for_workers(tmp_path, 2)
    launcher.kill()
    launcher.wait()
    wait_until(lambda: not any(lives(worker["pid"]) for worker in seen))


def wait_for_workers(folder: Path, n_workers: int) -> list[dict[str, Any]]:
    wait_until(lambda: len(list(folder.glob("*.json"))) >= n_workers)
    return [json.loads(path.read_text()) for path in folder.glob("*.json")]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it did not happen within 20 s"
        time.sleep(0.005)


def has_length(items: list[str], count: int) -> bool:
    return len(items) == count


def lives(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status")
    try:
        return "State:\tZ" not in status.read_text()
    except OSError:
        return False


def test_workers_share_the_cache_that_they_are_given(tmp_path: Path) -> None:
    plan = WorkerPlan(server="http://here", data_roots=[], gpus=[], n_workers=1, cache_dir=tmp_path, cache_bytes=0)
    assert plan.arguments()[-4:] == ["--cache-dir", str(tmp_path), "--cache-bytes", "0"]
