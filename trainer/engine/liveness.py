"""Tells the supervisor that training moves, so that a hang is known from a long epoch."""

import sys
import threading
from collections.abc import Callable

LOOK_SECONDS = 5.0
"""Time between two looks."""

Position = tuple[tuple[int, int], ...]
"""Place of each function on a stack: its code and the instruction it is at."""


class Liveness:
    """Tells whether the main thread's Python code or an optimizer moves; one long native call does neither."""

    def __init__(self, say_alive: Callable[[], None], position: Callable[[], Position] | None = None) -> None:
        main = threading.main_thread().ident
        assert main is not None
        self._position = position or (lambda: position_of(main))
        self._say_alive = say_alive
        self._n_steps = 0
        self._last: tuple[int, Position] | None = None

    def count_step(self, *_: object) -> None:
        """Note that an optimizer has made a step."""
        self._n_steps += 1

    def look(self) -> None:
        """Call ``say_alive`` if something has moved since the last look."""
        seen = (self._n_steps, self._position())
        if seen != self._last:
            self._last = seen
            self._say_alive()

    def start(self) -> None:
        """Look every few seconds until the process ends."""
        threading.Thread(target=self._run, name="liveness", daemon=True).start()

    def _run(self) -> None:
        pause = threading.Event()
        while not pause.wait(LOOK_SECONDS):
            self.look()


def position_of(thread: int) -> Position:
    """Return where each function on the stack of ``thread`` stands."""
    frame = sys._current_frames().get(thread)
    places: list[tuple[int, int]] = []
    while frame is not None:
        places.append((id(frame.f_code), frame.f_lasti))
        frame = frame.f_back
    return tuple(places)
