"""Workers as processes of this machine: started, replaced when they die, ended with their launcher.

Places, and never decides outcomes: what a dead worker held is taken back by the service.
"""

import logging
import secrets
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

_LOG = logging.getLogger(__name__)

POLL_SECONDS = 0.2
MAX_BACKOFF_SECONDS = 60.0
GRACE_SECONDS = 25.0
"""For workers that are told to end: they save their trials first, which may take 20 s."""
_NOT_STARTED = 127
"""Exit code that a shell gives to a program which it cannot start."""
HEALTHY_SECONDS = 60.0
"""A worker that lived this long is replaced at once; others after 1, 2, 4, … seconds."""


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
        on_death: Callable[[str, int], object] = lambda worker_id, exit_code: None,
        clock: Callable[[], float] = time.monotonic,
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        """Make what has started nothing yet.

        Args:
            on_start: Hears a worker's id before it starts, and answers its API key; empty: it needs none.
            on_death: Hears a worker's id after its end, and its exit code.
        """
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
            self._tell_death(slot, _NOT_STARTED)

    def _bury(self, slot: _Slot) -> None:
        assert slot.process is not None
        wait = self._back_off(slot)
        device = self._plan.environment_of(slot.number, "")["CUDA_VISIBLE_DEVICES"] or "the CPU"
        ended = "worker %s on %s ended with code %d; another one starts in %.0f s"
        _LOG.warning(ended, slot.worker_id[:8], device, slot.process.returncode, wait)
        self._close(slot)

    def _back_off(self, slot: _Slot) -> float:
        now = self._clock()
        slot.n_early_deaths = 0 if now - slot.started_at >= HEALTHY_SECONDS else slot.n_early_deaths + 1
        wait = min(2.0 ** (slot.n_early_deaths - 1), MAX_BACKOFF_SECONDS) if slot.n_early_deaths else 0.0
        slot.start_at = now + wait
        return wait

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
        exit_code = slot.process.returncode
        slot.process = None
        self._tell_death(slot, exit_code)

    def _tell_death(self, slot: _Slot, exit_code: int) -> None:
        try:
            self._on_death(slot.worker_id, exit_code)
        except Exception:
            # the database may be away for a while; a lease that is not released expires by itself, and the next start
            # of this launcher retires what is left
            _LOG.exception("the service did not take note of the end of worker %s", slot.worker_id[:8])
