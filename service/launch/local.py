"""Workers as processes of this machine: started, replaced when they die, ended with their launcher.

Places, and never decides outcomes: what a dead worker held is taken back by the service.
"""

import logging
import os
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from spezia.contract.key import KEY_VARIABLE

_LOG = logging.getLogger(__name__)

POLL_SECONDS = 0.2
WORKER_PROGRAM = (sys.executable, "-P", "-m", "trainer.cli")
"""``-P`` keeps the current folder off the module path."""

MAX_BACKOFF_SECONDS = 60.0
GRACE_SECONDS = 25.0
"""For workers that are told to end: they save their trials first, which may take 20 s."""
HEALTHY_SECONDS = 60.0
"""A worker that lived this long is replaced at once; others after 1, 2, 4, … seconds."""


@dataclass(frozen=True, kw_only=True)
class WorkerPlan:
    """How each worker is started."""

    server: str
    data_roots: Sequence[Path]
    allow_scripts: Sequence[Path] = ()
    gpus: Sequence[str]
    """Values of ``CUDA_VISIBLE_DEVICES``, dealt out in turn; none: workers compute on the CPU."""
    n_workers: int
    checkpoint_dir: Path | None = None
    """Where interrupted trials wait to go on; absent: each worker's own choice."""
    checkpoint_bytes: int | None = None
    """What ``checkpoint_dir`` may hold; absent: the workers' own choice."""
    cache_dir: Path | None = None
    """Where workers share what they can compute again; absent: each worker's own choice."""
    cache_bytes: int | None = None
    """What ``cache_dir`` may hold; absent: the workers' own choice."""
    program: Sequence[str] = WORKER_PROGRAM
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ), repr=False)
    """Environment of each worker, to which its key is added: a command line is for all to see."""

    def command(self, worker_id: str) -> list[str]:
        """Return the command line of one worker."""
        command = [*self.program, "--server", self.server, "--worker-id", worker_id, "--exit-with-parent"]
        command += ["--threads", str(self._threads())]
        for root in self.data_roots:
            command += ["--data-root", str(root.absolute())]
        for folder in self.allow_scripts:
            command += ["--allow-scripts", str(folder.absolute())]
        if self.checkpoint_dir:
            command += ["--checkpoint-dir", str(self.checkpoint_dir.absolute())]
        if self.checkpoint_bytes is not None:
            command += ["--checkpoint-bytes", str(self.checkpoint_bytes)]
        if self.cache_dir:
            command += ["--cache-dir", str(self.cache_dir.absolute())]
        if self.cache_bytes is not None:
            command += ["--cache-bytes", str(self.cache_bytes)]
        return command

    def environment_of(self, slot: int, key: str) -> dict[str, str]:
        """Return the environment of the worker in ``slot``, with its key."""
        visible = self.gpus[slot % len(self.gpus)] if self.gpus else ""
        return {**self.environment, "CUDA_VISIBLE_DEVICES": visible, KEY_VARIABLE: key}

    def _threads(self) -> int:
        # beside a GPU the threads only feed it; without one, two workers of one thread beat one of two
        return max(1, min(4, (os.cpu_count() or 1) // self.n_workers)) if self.gpus else 1


@dataclass
class _Slot:
    number: int
    worker_id: str = ""
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    start_at: float = 0.0
    n_early_deaths: int = 0


class LocalWorkers:
    """Keeps ``plan.n_workers`` worker processes alive from `start` to `stop`.

    All are started by one thread that lives until `stop`: the kernel ends a worker with the thread that
    started it.
    """

    def __init__(
        self,
        plan: WorkerPlan,
        *,
        on_start: Callable[[str], str],
        on_death: Callable[[str], object] = lambda worker_id: None,
        clock: Callable[[], float] = time.monotonic,
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        """`on_start` hears a worker's id before it starts and answers its key; `on_death` hears it after the end."""
        self._plan = plan
        self._on_start = on_start
        self._on_death = on_death
        self._clock = clock
        self._poll_seconds = poll_seconds
        self._slots = [_Slot(number) for number in range(plan.n_workers)]
        self._ending = threading.Event()
        self._grace_seconds = 0.0
        self._thread = threading.Thread(target=self._supervise, name="local-workers", daemon=True)

    def start(self) -> None:
        """Start the workers and return at once."""
        self._thread.start()

    def stop(self, grace_seconds: float = GRACE_SECONDS) -> None:
        """End all workers: SIGTERM, then SIGKILL after the grace; return when none is left."""
        self._grace_seconds = grace_seconds
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join()

    def kill(self) -> None:
        """Kill all workers, so that `stop` returns at once; may be called from a signal handler while `stop` waits."""
        self._grace_seconds = 0.0
        self._ending.set()
        for process in [slot.process for slot in self._slots]:
            if process is not None:
                process.kill()

    def _supervise(self) -> None:
        while not self._ending.is_set():
            for slot in self._slots:
                self._look_after(slot)
            self._ending.wait(self._poll_seconds)
        self._end_all()

    def _look_after(self, slot: _Slot) -> None:
        if slot.process is not None and slot.process.poll() is not None:
            self._bury(slot)
        if slot.process is None and self._clock() >= slot.start_at:
            self._start(slot)

    def _start(self, slot: _Slot) -> None:
        slot.worker_id = secrets.token_hex(16)
        slot.started_at = self._clock()
        try:
            key = self._on_start(slot.worker_id)
        except Exception:
            # the database may be away for a while
            _LOG.exception("worker %d did not start: it is not known to the service", slot.number)
            self._back_off(slot)
            return
        try:
            slot.process = subprocess.Popen(
                self._plan.command(slot.worker_id),
                env=self._plan.environment_of(slot.number, key),
                stdin=subprocess.PIPE,
                # its own group: Ctrl-C is for us, and we end the workers in order
                process_group=0,
            )
        except OSError:
            _LOG.exception("worker %d did not start", slot.number)
            self._back_off(slot)
            self._tell_death(slot)

    def _bury(self, slot: _Slot) -> None:
        assert slot.process is not None
        _LOG.warning("worker %s ended with code %d", slot.worker_id[:8], slot.process.returncode)
        self._back_off(slot)
        self._close(slot)

    def _back_off(self, slot: _Slot) -> None:
        now = self._clock()
        slot.n_early_deaths = 0 if now - slot.started_at >= HEALTHY_SECONDS else slot.n_early_deaths + 1
        wait = min(2.0 ** (slot.n_early_deaths - 1), MAX_BACKOFF_SECONDS) if slot.n_early_deaths else 0.0
        slot.start_at = now + wait

    def _end_all(self) -> None:
        living = [slot for slot in self._slots if slot.process is not None]
        for slot in living:
            assert slot.process is not None
            slot.process.terminate()
        deadline = time.monotonic() + self._grace_seconds
        for slot in living:
            assert slot.process is not None
            try:
                slot.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                slot.process.kill()
                slot.process.wait()
            self._close(slot)

    def _close(self, slot: _Slot) -> None:
        assert slot.process is not None
        assert slot.process.stdin is not None
        slot.process.stdin.close()
        slot.process = None
        self._tell_death(slot)

    def _tell_death(self, slot: _Slot) -> None:
        try:
            self._on_death(slot.worker_id)
        except Exception:
            # the database may be away for a while; a lease that is not released expires by itself, and the next start
            # of this launcher retires what is left
            _LOG.exception("the service did not take note of the end of worker %s", slot.worker_id[:8])
