"""A real service and real workers as processes, whose engines compute nothing."""

import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from service.client import SpeziaClient
from service.contract.study import Study
from service.running import find
from tests import fake_engine

ROOT = Path(__file__).parent.parent.parent
DEADLINE_SECONDS = 90.0
Found = TypeVar("Found")


def eventually(look: Callable[[], Found | None], seconds: float = DEADLINE_SECONDS) -> Found:
    """Look until there is something to see: real processes have no fake clock."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if found := look():
            return found
        time.sleep(0.02)
    raise AssertionError(f"nothing came of it in {seconds} s")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


class Processes:
    """One service at a time on one home and one port, and workers that find it there."""

    def __init__(self, folder: Path, database_url: str) -> None:
        self.home = folder / "home"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._database_url = database_url
        self.service: subprocess.Popen[bytes] | None = None
        self.workers: list[subprocess.Popen[bytes]] = []

    def start_service(self, environment: Mapping[str, str] | None = None) -> SpeziaClient:
        command = [sys.executable, "-m", "service.cli", "serve", "--workers", "0", "--port", str(self.port)]
        settings = {"SPEZIA_HOME": str(self.home), "SPEZIA_DATABASE_URL": self._database_url}
        self.service = self._start(command, settings | dict(environment or {}))
        eventually(self._is_up)
        return SpeziaClient(self.url)

    def start_worker(self, server: str | None = None) -> subprocess.Popen[bytes]:
        engine = shlex.join([sys.executable, "-P", fake_engine.__file__])
        command = [sys.executable, "-m", "trainer.cli", "--server", server or self.url, "--engine", engine]
        self.workers.append(self._start(command, {}))
        return self.workers[-1]

    def kill_service(self) -> None:
        assert self.service is not None
        self.service.kill()
        self.service.wait()

    def end(self) -> None:
        for process in (*self.workers, self.service):
            if process is not None and process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
                process.wait()

    def _start(self, command: list[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(command, cwd=ROOT, env=os.environ | dict(environment), stderr=subprocess.DEVNULL)

    def _is_up(self) -> bool:
        assert self.service is not None
        running = find(self.home)
        return running is not None and running.pid == self.service.pid


@contextmanager
def processes(folder: Path, database_url: str) -> Iterator[Processes]:
    running = Processes(folder, database_url)
    try:
        yield running
    finally:
        running.end()


def wait_for_end(client: SpeziaClient, name: str) -> Study:
    eventually(lambda: client.get_study(name).finished_at)
    return client.get_study(name)
