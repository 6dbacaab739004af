"""One worker for each of several devices, as processes of their own: a crash, an exhausted memory or a driver's fault
of one leaves the others' trials alone.

A worker that dies is replaced, after 1, 2, 4, … up to 60 s. All end together when this process is told to, and when the
service refuses one of them, since it would refuse the others as well.
"""

import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from types import FrameType

from spezia.common.devices import find_gpus
from spezia.common.parent import end_with_parent
from spezia.common.worker_processes import LocalWorkers, WorkerPlan
from spezia.contract.key import KEY_VARIABLE
from trainer.supervisor.end_on_signals import PARENT_GONE
from trainer.supervisor.supervisor import REFUSED

CPU = "cpu"
"""Name of a device that is no GPU; it may be named several times."""
CALLED_WRONGLY = 2
"""Exit code of a command line that cannot work, which would be as wrong the next time."""


class BadDevices(ValueError):
    """Devices that workers cannot have; the message says which and what there is."""


def parse_devices(named: str) -> list[str]:
    """Read a list such as ``0,1`` or ``cpu,cpu``.

    Raises:
        BadDevices: One is not there, or is named twice.
    """
    devices = [device.strip() for device in named.split(",")]
    gpus = find_gpus()
    for device in devices:
        if device != CPU and device not in gpus:
            raise BadDevices(f"there is no device {device!r}; this machine has {', '.join([*gpus, CPU])}")
        if device != CPU and devices.count(device) > 1:
            raise BadDevices(f"device {device!r} is named twice; two trials would fight for its memory")
    return devices


@dataclass(frozen=True, kw_only=True)
class DevicePlan:
    """How the worker of each device is started."""

    devices: Sequence[str]
    options: Sequence[str]
    """Options of `spezia-worker`, without those that tell one worker from another."""

    @property
    def n_workers(self) -> int:
        """How many there are."""
        return len(self.devices)

    def command(self, worker_id: str) -> list[str]:
        """Return the command line of one worker."""
        own = ["--worker-id", worker_id, "--exit-with-parent"]
        return [sys.executable, "-P", "-m", "trainer.cli", *self.options, *own]

    def environment_of(self, slot: int, key: str) -> dict[str, str]:
        """Return the environment of the worker in ``slot``, with its API key: a command line is for all to see."""
        device = self.devices[slot]
        return {**os.environ, KEY_VARIABLE: key, "CUDA_VISIBLE_DEVICES": "" if device == CPU else device}


def work_on_devices(plan: WorkerPlan, api_key: str | None, *, exit_with_parent: bool = False) -> int:
    """Keep a worker on each device until told to end; return the exit code. To be called in the main thread.

    The first signal lets workers save their trials and give them back, which takes at most 25 s; a second one kills
    them.
    """
    # A pipe and not a threading.Event: a signal handler may interrupt whoever holds an event's lock
    arrivals, announce = os.pipe()

    def note_death(_worker_id: str, exit_code: int) -> None:
        if exit_code in (REFUSED, CALLED_WRONGLY):
            os.write(announce, bytes([exit_code]))

    workers = LocalWorkers(plan, on_start=lambda worker_id: api_key or "", on_death=note_death)
    is_told = False

    def end(number: int, frame: FrameType | None) -> None:
        nonlocal is_told
        if is_told and number != PARENT_GONE:
            workers.kill()
        is_told = True
        os.write(announce, b"\0")

    for number in (signal.SIGTERM, signal.SIGINT, PARENT_GONE):
        signal.signal(number, end)
    if exit_with_parent:
        end_with_parent(PARENT_GONE)
    workers.start()
    exit_code = os.read(arrivals, 1)[0]
    workers.stop()
    return exit_code
