"""Commands to an engine that are written down beforehand, and what it says to them."""

import threading
from typing import Any

from trainer import messages


class ScriptedChannel:
    """Stands for the channel: gives commands and remembers events; at the end of the script it hangs up."""

    def __init__(self, *commands: messages.Command) -> None:
        self._commands = list(commands)
        self.events: list[Any] = []
        self.stop_wanted = threading.Event()

    def receive(self) -> messages.Command:
        if not self._commands:
            raise EOFError
        return self._commands.pop(0)

    def send(self, event: messages.Event) -> None:
        self.events.append(event)
