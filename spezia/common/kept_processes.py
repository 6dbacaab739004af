"""Child processes that are kept alive: started, replaced when they die, ended together."""

import logging
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

_LOG = logging.getLogger(__name__)

POLL_SECONDS = 0.2
MAX_BACKOFF_SECONDS = 60.0
HEALTHY_SECONDS = 60.0
"""A process that lived this long is replaced at once; others after 1, 2, 4, … seconds."""


class NotNow(Exception):
    """A process cannot be started at present; the message says why, and the cause of this error where."""


class ProcessKind(Protocol):
    """What the processes are, each in a slot of its own from 0 on."""

    def start(self, slot: int) -> "subprocess.Popen[bytes]":
        """Start the process of a slot, with a pipe as its stdin, which is closed after its end.

        Raises:
            NotNow: It cannot be started at present.
        """

    def end(self, slot: int, exit_code: int) -> object:
        """Hear that the process of a slot has ended."""

    def describe(self, slot: int) -> str:
        """Return what to call the process of a slot in the log."""


@dataclass
class _Slot:
    number: int
    process: "subprocess.Popen[bytes] | None" = None
    started_at: float = 0.0
    start_at: float = 0.0
    n_early_deaths: int = 0


class KeptProcesses:
    """Keeps a number of processes alive from `start` to `stop`.

    All are started by one thread that lives until `stop`: the kernel ends a process with the thread that started it.
    """

    def __init__(
        self,
        n_processes: int,
        kind: ProcessKind,
        *,
        clock: Callable[[], float] = time.monotonic,
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        """Make what has started nothing yet."""
        self._kind = kind
        self._clock = clock
        self._poll_seconds = poll_seconds
        self._slots = [_Slot(number) for number in range(n_processes)]
        self._ending = threading.Event()
        self._grace_seconds = 0.0
        self._thread = threading.Thread(target=self._supervise, name="kept-processes", daemon=True)

    def start(self) -> None:
        """Start the processes and return at once."""
        if self._slots:
            self._thread.start()

    def stop(self, grace_seconds: float) -> None:
        """End all processes: SIGTERM, then SIGKILL after the grace; return when none is left."""
        self._grace_seconds = grace_seconds
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join()

    def kill(self) -> None:
        """Kill all processes, so that `stop` returns at once; may be called from a signal handler while `stop`
        waits."""
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
        slot.started_at = self._clock()
        try:
            slot.process = self._kind.start(slot.number)
        except NotNow as error:
            _LOG.error("%s did not start: %s", self._kind.describe(slot.number), error, exc_info=error.__cause__)
            self._back_off(slot)

    def _bury(self, slot: _Slot) -> None:
        assert slot.process is not None
        wait = self._back_off(slot)
        ended = "%s ended with code %d; another one starts in %.0f s"
        _LOG.warning(ended, self._kind.describe(slot.number), slot.process.returncode, wait)
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
        self._kind.end(slot.number, exit_code)
