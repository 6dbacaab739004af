"""Workers as processes of this machine: started, replaced when they die, ended with their launcher.

Places, and never decides outcomes: what a dead worker held is taken back by the service.
"""

import logging
import secrets
import subprocess
import time
from collections.abc import Callable
from typing import Protocol

from spezia.common.kept_processes import POLL_SECONDS, KeptProcesses, NotNow

_LOG = logging.getLogger(__name__)

GRACE_SECONDS = 25.0
"""For workers that are told to end: they save their trials first, which may take 20 s."""
_NOT_STARTED = 127
"""Exit code that a shell gives to a program which it cannot start."""


class WorkerPlan(Protocol):
    """How each worker is started."""

    @property
    def n_workers(self) -> int:
        """How many there are."""

    def command(self, worker_id: str) -> list[str]:
        """Return the command line of one worker."""

    def environment_of(self, slot: int, key: str) -> dict[str, str]:
        """Return the environment of the worker in ``slot``, which names its device in ``CUDA_VISIBLE_DEVICES``.

        Args:
            key: The worker's API key; empty: it has none.
        """


class LocalWorkers:
    """Keeps ``plan.n_workers`` worker processes alive from `start` to `stop`, each life under an id of its own."""

    def __init__(
        self,
        plan: WorkerPlan,
        *,
        on_start: Callable[[str], str],
        on_death: Callable[[str, int], object] = lambda worker_id, exit_code: None,
        clock: Callable[[], float] = time.monotonic,
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        """Make what has started nothing yet.

        Args:
            on_start: Hears a worker's id before it starts, and answers its API key; empty: it needs none.
            on_death: Hears a worker's id after its end, and its exit code.
        """
        kind = _Workers(plan, on_start, on_death)
        self._processes = KeptProcesses(plan.n_workers, kind, clock=clock, poll_seconds=poll_seconds)

    def start(self) -> None:
        """Start the workers and return at once."""
        self._processes.start()

    def stop(self, grace_seconds: float = GRACE_SECONDS) -> None:
        """End all workers: SIGTERM, then SIGKILL after the grace; return when none is left."""
        self._processes.stop(grace_seconds)

    def kill(self) -> None:
        """Kill all workers, so that `stop` returns at once; may be called from a signal handler while `stop` waits."""
        self._processes.kill()


class _Workers:
    def __init__(
        self, plan: WorkerPlan, on_start: Callable[[str], str], on_death: Callable[[str, int], object]
    ) -> None:
        self._plan = plan
        self._on_start = on_start
        self._on_death = on_death
        self._ids = [""] * plan.n_workers

    def start(self, slot: int) -> "subprocess.Popen[bytes]":
        self._ids[slot] = worker_id = secrets.token_hex(16)
        try:
            key = self._on_start(worker_id)
        except Exception as error:
            # the database may be away for a while
            raise NotNow("it is not known to the service") from error
        try:
            return subprocess.Popen(
                self._plan.command(worker_id),
                env=self._plan.environment_of(slot, key),
                stdin=subprocess.PIPE,
                # its own group: Ctrl-C is for us, and we end the workers in order
                process_group=0,
            )
        except OSError as error:
            self.end(slot, _NOT_STARTED)
            raise NotNow(str(error)) from error

    def end(self, slot: int, exit_code: int) -> None:
        worker_id = self._ids[slot]
        try:
            self._on_death(worker_id, exit_code)
        except Exception:
            # the database may be away for a while; a lease that is not released expires by itself, and the next start
            # of this launcher retires what is left
            _LOG.exception("the service did not take note of the end of worker %s", worker_id[:8])

    def describe(self, slot: int) -> str:
        device = self._plan.environment_of(slot, "")["CUDA_VISIBLE_DEVICES"] or "the CPU"
        return f"worker {self._ids[slot][:8]} on {device}"
