"""Measures how long training takes, without what others do in between."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Stopwatch:
    """Counts seconds from its making on, but for those in which it is paused."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._began_at = clock()

    @property
    def seconds(self) -> float:
        """Seconds that have been counted."""
        return self._clock() - self._began_at

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Do not count what happens within."""
        paused_at = self._clock()
        yield
        self._began_at += self._clock() - paused_at
