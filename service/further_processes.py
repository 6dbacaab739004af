"""Further processes of a service, which answer at the socket of its first one (`spezia serve --processes`).

Whoever calls meets any of them. They share the database as services do that are started one by one; the first process
alone starts workers and says where the service is.
"""

import os
import socket
import subprocess
import sys

from service.settings import Settings
from spezia.common.kept_processes import KeptProcesses, NotNow

SETTINGS_VARIABLE = "SPEZIA_SETTINGS_OF_FIRST"
"""Environment variable of a further process: the settings of the first one as JSON, which may hold a password."""

GRACE_SECONDS = 20.0
"""For processes that are told to end: they answer what they have begun to, and finish their round of duties."""


class FurtherProcesses:
    """Keeps all processes of a service alive but the first one, which is this, from `start` to `stop`."""

    def __init__(self, settings: Settings, listener: socket.socket) -> None:
        """Make what has started nothing yet; the processes will answer at ``listener``."""
        self._processes = KeptProcesses(settings.processes - 1, _Further(settings, listener))

    def start(self) -> None:
        """Start the processes and return at once."""
        self._processes.start()

    def stop(self) -> None:
        """Have all processes answer what they have begun to and end; return when none is left."""
        self._processes.stop(GRACE_SECONDS)

    def kill(self) -> None:
        """Kill all processes, so that `stop` returns at once; may be called from a signal handler meanwhile."""
        self._processes.kill()


class _Further:
    def __init__(self, settings: Settings, listener: socket.socket) -> None:
        self._settings = settings.model_dump_json()
        self._listener = listener.fileno()

    def start(self, slot: int) -> "subprocess.Popen[bytes]":
        try:
            return subprocess.Popen(
                [sys.executable, "-P", "-m", "service.further_process", str(self._listener)],
                env={**os.environ, SETTINGS_VARIABLE: self._settings},
                stdin=subprocess.PIPE,
                pass_fds=[self._listener],
                # its own group: Ctrl-C is for the first process, which ends the others behind the workers
                process_group=0,
            )
        except OSError as error:
            raise NotNow(str(error)) from error

    def end(self, slot: int, exit_code: int) -> None:
        """Leave the rest to who starts the next one: all that a process knows is in the database."""

    def describe(self, slot: int) -> str:
        return f"process {slot + 2} of the service"
