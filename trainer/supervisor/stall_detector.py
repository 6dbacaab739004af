"""Decides how long a silent engine is waited for."""

import statistics
import time
from collections import deque
from collections.abc import Callable

STALL_SECONDS = 600.0
"""Shortest silence after which an engine counts as stalled."""
STALL_FACTOR = 20
"""Silence after which an engine counts as stalled, as a multiple of the median time between two of its messages, where
that is longer."""


class StallDetector:
    """Measures the silence of an engine."""

    def __init__(self, *, stall_seconds: float = STALL_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        self._stall_seconds = stall_seconds
        self._clock = clock
        self._heard_at = clock()
        self._gaps: deque[float] = deque(maxlen=100)

    @property
    def seconds(self) -> float:
        """Longest silence that is still borne."""
        if not self._gaps:
            return self._stall_seconds
        return max(self._stall_seconds, STALL_FACTOR * statistics.median(self._gaps))

    def heard(self) -> None:
        """Note that the engine has said something."""
        now = self._clock()
        self._gaps.append(now - self._heard_at)
        self._heard_at = now

    def resume(self) -> None:
        """Note that it is the engine's turn again: the silence up to now was not its own."""
        self._heard_at = self._clock()

    def seconds_left(self) -> float:
        """Return the seconds until the engine counts as stalled."""
        return self._heard_at + self.seconds - self._clock()
