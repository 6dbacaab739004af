"""A real service and real workers as processes of their own."""

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import TypeVar

from service.failpoints import arm_from
from service.serve import serve
from service.settings import Settings
from tests.forks import FORKS
from trainer.cli import engine_command
from trainer.supervisor.client import ServiceClient
from trainer.supervisor.supervisor import Limits, Supervisor

SECONDS = 60.0
"""After which what has not happened never will; on a busy machine all takes long."""
Found = TypeVar("Found")


def eventually(look: Callable[[], Found | None]) -> Found:
    """Look until there is something to see: real processes have no fake clock."""
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        if found := look():
            return found
        threading.Event().wait(0.01)
    raise AssertionError(f"nothing came of it in {SECONDS} s")


def free_port() -> int:
    """A port of loopback on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


class Service:
    """One service process after another, on one home, one port and one database."""

    def __init__(self, home: Path, database_url: str, files_dir: Path | None = None) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.settings = Settings(home=home, database_url=database_url, files_dir=files_dir, port=self.port, n_workers=0)
        self.process: ForkServerProcess | None = None

    def start(self, failpoints: str = "") -> None:
        """Start one, and wait until it listens or has died."""
        process = FORKS.Process(target=_serve, args=(self.settings, failpoints))
        process.start()
        self.process = process
        eventually(lambda: not process.is_alive() or self._listens(process))

    def died_by(self) -> int | None:
        """The signal by which the process ended, if it did."""
        assert self.process is not None
        self.process.join(0)
        return None if self.process.exitcode is None else -self.process.exitcode

    def end(self) -> None:
        """Kill it and leave nothing behind."""
        if self.process is not None:
            end(self.process)
        self.process = None

    def _listens(self, process: ForkServerProcess) -> bool:
        try:
            # of the last one until the new one has its home
            announced = json.loads((self.settings.home / "service.json").read_text())
        except FileNotFoundError:
            return False
        return bool(announced["pid"] == process.pid)


@contextmanager
def service_of(home: Path, database_url: str, files_dir: Path | None = None) -> Iterator[Service]:
    service = Service(home, database_url, files_dir)
    try:
        yield service
    finally:
        service.end()


@contextmanager
def workers() -> Iterator[Callable[..., ForkServerProcess]]:
    """Yield what starts a worker: server, engine and worker id go in, a process comes out."""
    started: list[ForkServerProcess] = []

    def start(server: str, engine: str, worker_id: str) -> ForkServerProcess:
        process = FORKS.Process(target=_work, args=(server, engine, worker_id))
        process.start()
        started.append(process)
        return process

    try:
        yield start
    finally:
        for process in started:
            end(process)


def end(process: ForkServerProcess) -> None:
    """Kill a process, be it stopped or dead already, and let go of it."""
    process.kill()
    process.join()
    process.close()


def is_dead(pid: int) -> bool:
    """Whether a process that is no child of ours runs no more."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].startswith("Z")
    except FileNotFoundError:
        return True


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """SIGSTOP, and SIGCONT in the end."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def _serve(settings: Settings, failpoints: str) -> None:
    arm_from(failpoints)
    raise SystemExit(serve(settings))


def _work(server: str, engine: str, worker_id: str) -> None:
    supervisor = Supervisor(
        ServiceClient(server),
        engine_command(engine, data_roots=[], threads=1),
        worker_id=worker_id,
        limits=Limits(wait_seconds=0.1),
        sleep=lambda seconds: time.sleep(seconds / 20),
    )
    raise SystemExit(supervisor.run())
