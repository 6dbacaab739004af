"""The engine's end of the pipe to its supervisor. Imports no torch."""

import os
import queue
import sys
import threading

from trainer.messages import Command, Event, Stop, decode_command, encode


class Channel:
    """Receives commands and sends events.

    It takes the process's stdin and stdout for itself: what libraries print from then on goes to stderr, so that it
    cannot corrupt the protocol. When the supervisor is gone, the process ends at once.
    """

    def __init__(self) -> None:
        self.stop_wanted = threading.Event()
        """Set for good by ``Stop``, which overtakes all other commands."""
        self._commands: queue.SimpleQueue[Command] = queue.SimpleQueue()
        self._sending = threading.Lock()
        self._in = os.fdopen(os.dup(0), "rb")
        self._out = os.fdopen(os.dup(1), "wb", buffering=0)
        with open(os.devnull, "rb") as nothing:
            os.dup2(nothing.fileno(), 0)
        sys.stdout.flush()
        os.dup2(2, 1)

    def start(self) -> None:
        """Begin to listen; to be called once whoever handles commands is ready."""
        threading.Thread(target=self._listen, name="channel", daemon=True).start()

    def receive(self) -> Command:
        """Wait for the supervisor's next command."""
        return self._commands.get()

    def send(self, event: Event) -> None:
        """Send an event; safe from any thread."""
        line = memoryview(encode(event))
        with self._sending:
            while line:
                line = line[self._out.write(line) :]

    def _listen(self) -> None:
        for line in self._in:
            command = decode_command(line)
            if isinstance(command, Stop):
                self.stop_wanted.set()
            else:
                self._commands.put(command)
        os._exit(0)  # the supervisor is gone; whatever the main thread does is of no use to anybody
