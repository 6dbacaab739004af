"""The engine, seen from its supervisor: a process to start, talk to and throw away. Imports no torch."""

import contextlib
import os
import queue
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import ValidationError

from spezia.contract.failure import Failure
from spezia.contract.protocol import Directive, HeldLease
from trainer.messages import Command, Event, Hello, decode_event, encode
from trainer.supervisor.engine_environment import engine_environment
from trainer.supervisor.engine_log import EngineLog
from trainer.supervisor.oom_kills import count_oom_kills

_EXIT_SECONDS = 5.0
"""Time that an engine has to exit once its pipe is closed."""


class WorkerBroken(Exception):
    """This machine cannot do the work; taking more of it would only spoil it."""

    def __init__(self, message: str, reason: Literal["bystander", "disk_full"] = "bystander") -> None:
        """Make the error; ``reason`` is what the assignment in hand is given back with."""
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class Gone:
    """The engine's end of the pipe is closed, or speaks nonsense: no event will follow."""

    nonsense: bytes | None = None
    """What the engine said instead of an event."""


@dataclass(frozen=True)
class Directed:
    """The service has said, in answer to a heartbeat, what is to become of a lease."""

    lease: HeldLease
    directive: Directive


@dataclass(frozen=True)
class Terminating:
    """The supervisor was told to end while an assignment runs."""

    reason: str


class EngineProcess:
    """One engine process, in a process group of its own.

    It must be started from the main thread: the engine is killed when the thread that started it ends.
    """

    def __init__(self, command: Sequence[str], *, count_oom_kills: Callable[[], int] = count_oom_kills) -> None:
        self.log = EngineLog()
        self.inbox: queue.SimpleQueue[Event | Gone | Directed | Terminating] = queue.SimpleQueue()
        self._is_killed = False
        self.has_greeted = False
        self._count_oom_kills = count_oom_kills
        self._oom_kills_before = count_oom_kills()
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log.fileno(),
            env=engine_environment(os.environ),
            start_new_session=True,
            bufsize=0,
        )
        threading.Thread(target=self._listen, name="engine-pipe", daemon=True).start()

    @property
    def is_alive(self) -> bool:
        """Whether the engine can be given work."""
        return not self._is_killed and self._process.poll() is None

    def send(self, command: Command) -> None:
        """Send a command. This never raises: whether the engine is gone is said by the inbox."""
        assert self._process.stdin is not None
        line = memoryview(encode(command))
        with contextlib.suppress(BrokenPipeError):
            while line and not self._is_killed:
                line = line[self._process.stdin.write(line) :]

    def kill(self) -> None:
        """End the engine and whatever it has started; harmless when repeated."""
        if self._is_killed:
            return
        self.kill_group()
        self._is_killed = True
        self._process.wait()
        assert self._process.stdin is not None
        self._process.stdin.close()

    def kill_group(self) -> None:
        """Kill the engine and whatever it has started, and wait for nothing."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def free_pipe(self) -> None:
        """Kill the group of an engine that has died: a process that it left behind may hold its pipe."""
        if self._process.poll() is not None:
            self.kill_group()

    def bury(self, gone: Gone) -> Failure:
        """Return what ended an engine that is gone, and clean up after it.

        Raises:
            WorkerBroken: the engine had not even started; the next one would not either.
        """
        failure = self._cause_of_death(gone)
        if not self.has_greeted:
            raise WorkerBroken(f"the training process does not start: {failure.message}\n{self.log.take()}")
        return failure

    def _cause_of_death(self, gone: Gone) -> Failure:
        if gone.nonsense is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_EXIT_SECONDS)
        code = self._process.poll()
        self.kill()
        if gone.nonsense is not None:
            return _crash(
                f"something in the training process wrote into its pipe to the worker: {gone.nonsense[:100]!r}"
            )
        if code is None:
            return _crash("the training process closed its pipe to the worker")
        if code >= 0:
            return _crash(f"the training process exited with code {code}; its last words are in the log")
        if -code == signal.SIGKILL and self._count_oom_kills() > self._oom_kills_before:
            message = "the machine ran out of memory and the kernel killed the training process"
            return Failure(failure_class="host_out_of_memory", message=message)
        return _crash(f"the training process died by signal {-code} ({signal.Signals(-code).name})")

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with os.fdopen(os.dup(self._process.stdout.fileno()), "rb") as lines:
            self._process.stdout.close()
            for line in lines:
                try:
                    event = decode_event(line)
                except ValidationError:
                    self.inbox.put(Gone(nonsense=line))
                    return
                self.has_greeted = self.has_greeted or isinstance(event, Hello)
                self.inbox.put(event)
        self.inbox.put(Gone())


def _crash(message: str) -> Failure:
    return Failure(failure_class="exception", message=message)
