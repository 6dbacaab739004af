"""What an actor of Ray does on its node: it starts one `spezia-worker` there, and says how that fares.

Nodes import this file, so it needs the standard library alone.
"""

import os
import platform
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version

UNUSED_SECONDS = 600.0
"""Time for which an actor without a worker waits for one: its launcher may have gone meanwhile."""
TOLD_SECONDS = 60.0
"""Time for which an actor says that its worker has ended."""
KILL_SECONDS = 30.0
"""Time for a worker that is told to end: longer than it takes to save its trial."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """How an actor fares."""

    plan: str
    """Digest of the settings that the actor was made by."""
    versions: Mapping[str, str]
    """Versions of `python` (of its first two numbers), `ray` and `spezia` on its node."""
    worker_id: str | None = None
    """Id of its worker; ``None``: it was given none yet."""
    is_ending: bool = False
    exit_code: int | None = None
    """Exit code of its worker; ``None``: it runs, or there is none yet."""


def versions_here() -> dict[str, str]:
    """Return the versions that a service and the nodes of its cluster must share."""
    python = ".".join(platform.python_version_tuple()[:2])
    return {name: version(name) for name in ("ray", "spezia")} | {"python": python}


class WorkerActor:
    """Starts one worker on its node, and ends when the worker has ended, whether anybody asks or not.

    Its calls run in the main thread of its process, which lives as long as that: the kernel ends a worker with the
    thread that started it.
    """

    def __init__(self, plan: str, leave: Callable[[], object] = lambda: os._exit(0)) -> None:
        self._plan = plan
        self._worker_id: str | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._is_ending = False
        self._is_used = threading.Event()
        threading.Thread(target=self._watch, args=(leave,), name="watch", daemon=True).start()

    def report(self) -> Report:
        """Say how the actor and its worker fare."""
        return Report(
            plan=self._plan,
            versions=versions_here(),
            worker_id=self._worker_id,
            is_ending=self._is_ending,
            exit_code=None if self._process is None else self._process.poll(),
        )

    def start(self, worker_id: str, arguments: Sequence[str], environment: Mapping[str, str]) -> Report:
        """Start the worker, unless one was started before; the report says which it is.

        Args:
            arguments: Arguments of this node's Python.
            environment: What is added to the environment of the actor. It holds the worker's key, which is in no
                description of the actor that the cluster keeps.
        """
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, *arguments],
                # the cluster's token is not for workers
                env={name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
                | dict(environment),
                # it ends when this closes, however the actor ends
                stdin=subprocess.PIPE,
                process_group=0,
            )
            self._worker_id = worker_id
            self._is_used.set()
        return self.report()

    def end(self) -> None:
        """Have the worker give back what it holds and end; repeating is harmless."""
        if self._process is not None and not self._is_ending:
            self._is_ending = True
            self._process.send_signal(signal.SIGTERM)
            threading.Thread(target=self._kill_later, name="kill", daemon=True).start()

    def _kill_later(self) -> None:
        assert self._process is not None
        try:
            self._process.wait(KILL_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def _watch(self, leave: Callable[[], object]) -> None:
        if self._is_used.wait(UNUSED_SECONDS):
            assert self._process is not None
            assert self._process.stdin is not None
            self._process.wait()
            self._process.stdin.close()
            time.sleep(TOLD_SECONDS)
        leave()
