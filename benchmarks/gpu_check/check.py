"""Runs the parts of a check one after the other, and keeps a file of what is known so far."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SCHEMA = 1
_GOOD = ("passed", "skipped")
TAIL_BYTES = 4_000
"""How much of what a failed part has printed becomes its error."""


@dataclass(frozen=True)
class Part:
    """A program that prints findings, one JSON object a line; of a key that comes again the last value counts."""

    name: str
    program: str
    """File beside this one, or an absolute path."""
    seconds: float
    """Time after which it is killed."""
    arguments: Sequence[str] = ()
    is_needed: bool = False
    """Whether nothing that comes after it can pass if it does not, so that a GPU need not be kept for that."""


@dataclass
class Check:
    """The parts of a check, and the file of what they have found, which is there at once and whole at any time."""

    file: Path
    parts: Sequence[Part]
    header: Mapping[str, Any]
    """What the file says of the machine."""
    _started: float = field(init=False, default_factory=time.monotonic)
    _known: dict[str, dict[str, Any]] = field(init=False)

    def __post_init__(self) -> None:
        self._known = {
            part.name: {"state": "not run", "seconds": 0.0, "limit_seconds": part.seconds, "error": None, "found": {}}
            for part in self.parts
        }
        self._write()

    def run(self, environment: Mapping[str, str], total_seconds: float) -> bool:
        """Run all parts, up to a needed one that does not pass, and return whether all are good.

        Args:
            total_seconds: Time that they have together; those that are left then are not run.
        """
        for part in self.parts:
            known = self._known[part.name]
            left = total_seconds - (time.monotonic() - self._started)
            if left > 0:
                self._run(part, min(part.seconds, left), environment)
            else:
                known["error"] = f"none was left of the {total_seconds:.0f} s that all parts have together"
            self._write()
            if part.is_needed and known["state"] not in _GOOD:
                break
        return all(known["state"] in _GOOD for known in self._known.values())

    def table(self) -> str:
        """Return what is known as lines of text."""
        lines = []
        for name, known in self._known.items():
            lines.append(f"{name:12} {known['state']:10} {known['seconds']:6.1f} s")
            lines += [f"    {key}: {json.dumps(value)}" for key, value in known["found"].items()]
        return "\n".join(lines)

    def _run(self, part: Part, seconds: float, environment: Mapping[str, str]) -> None:
        known = self._known[part.name]
        known |= {"state": "running", "limit_seconds": round(seconds, 1)}
        self._write()
        started = time.monotonic()

        def add(found: dict[str, Any]) -> None:
            known["found"] |= found
            self._write()

        log = self.file.with_suffix(f".{part.name}.log")
        known["state"], known["error"] = run_part(part, seconds, environment, log, add)
        known["seconds"] = round(time.monotonic() - started, 1)

    def _write(self) -> None:
        seconds = round(time.monotonic() - self._started, 1)
        content = {"schema": SCHEMA, **self.header, "seconds": seconds, "parts": self._known}
        partial = self.file.with_suffix(".partial")
        partial.write_text(json.dumps(content, indent=1) + "\n")
        os.replace(partial, self.file)  # who reads it finds a whole one


def run_part(
    part: Part, seconds: float, environment: Mapping[str, str], log: Path, add: Callable[[dict[str, Any]], None]
) -> tuple[str, str | None]:
    """Run ``part`` for at most so many seconds.

    Args:
        log: File for what it prints besides its findings.
        add: Gets each finding when it comes.

    Returns:
        How it ended, and why if it did not pass.
    """
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, str(HERE / part.program), *part.arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        )
    is_late = threading.Event()

    def end() -> None:
        is_late.set()
        _kill_group(process)

    timer = threading.Timer(seconds, end)
    timer.start()
    why_skipped: str | None = None
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if line.endswith(b"\n"):  # else it was killed while it wrote
                found = json.loads(line)
                why_skipped = found.pop("skipped", why_skipped)
                add(found)
        code = process.wait()
    finally:
        timer.cancel()
        _kill_group(process)  # if it is us who are ended; and what it may have left behind
        process.stdout.close()
    if is_late.is_set():
        return "timed out", f"killed after {seconds:.0f} s\n{_tail(log)}"
    if code:
        return "failed", f"exit code {code}\n{_tail(log)}"
    return ("skipped" if why_skipped else "passed"), why_skipped


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _tail(log: Path) -> str:
    return log.read_bytes()[-TAIL_BYTES:].decode(errors="replace")
