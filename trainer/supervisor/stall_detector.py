"""How long a silent engine is waited for."""

import statistics
import time
from collections import deque
from collections.abc import Callable

STALL_SECONDS = 600.0
STALL_FACTOR = 20
"""Times the median time between two messages, where that is more."""


class StallDetector:
    """Measures the silence of an engine."""

    def __init__(self, *, stall_seconds: float = STALL_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        self._stall_seconds = stall_seconds
        self._clock = clock
        self._heard_at = clock()
        self._gaps: deque[float] = deque(maxlen=100)

    @property
    def seconds(self) -> float:
        """The longest silence that is still borne."""
        if not self._gaps:
            return self._stall_seconds
        return max(self._stall_seconds, STALL_FACTOR * statistics.median(self._gaps))

    def heard(self) -> None:
        """The engine has said something."""
        now = self._clock()
        self._gaps.append(now - self._heard_at)
        self._heard_at = now

    def resume(self) -> None:
        """It is the engine's turn again: the time up to now was not its own."""
        self._heard_at = self._clock()

    def seconds_left(self) -> float:
        """Until the engine counts as stalled."""
        return self._heard_at + self.seconds - self._clock()
