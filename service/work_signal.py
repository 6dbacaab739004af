"""Wakes the dispatches of one service process that wait for work, one after the other."""

import asyncio
import threading
from dataclasses import dataclass, field
from uuid import uuid4

import anyio


@dataclass(eq=False)
class _Waiter:
    mark: int
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    woken: anyio.Event = field(default_factory=anyio.Event)


class WorkSignal:
    """Says that there may be work; told from any thread, waited for in an event loop.

    One waiter is woken by each word, the one that has waited longest: most words are of one piece of work, and a
    hundred workers that all look for it would cost a hundred looks. So a waiter that was woken says `pass_on` when it
    has found something, for there may be more, or when it may not take what is there.
    """

    def __init__(self) -> None:
        self.name = uuid4().hex
        """Of this process among the services on its database."""
        self._lock = threading.Lock()
        self._n_words = 0
        self._waiting: dict[_Waiter, None] = {}
        """Those that wait, the longest first."""

    @property
    def n_waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def mark(self) -> int:
        """Return how much has been said so far; asked before a look, so that nothing said meanwhile is missed."""
        return self._n_words

    def notify(self) -> None:
        """Say that there may be work; called after the commit that made it."""
        with self._lock:
            self._n_words += 1
        self.pass_on()

    def pass_on(self) -> None:
        """Wake the next one of those that have not looked since the last word."""
        with self._lock:
            waiter = next((one for one in self._waiting if one.mark < self._n_words), None)
            if waiter is None:
                return
            del self._waiting[waiter]
        waiter.loop.call_soon_threadsafe(waiter.woken.set)

    async def wait(self, mark: int, seconds: float) -> bool:
        """Wait for a word since ``mark``, for so long at most; return whether one came."""
        with self._lock:
            if self._n_words != mark:
                return True
            waiter = _Waiter(mark)
            self._waiting[waiter] = None
        try:
            with anyio.move_on_after(seconds):
                await waiter.woken.wait()
        except BaseException:
            if not self._leave(waiter):
                self.pass_on()  # what it was woken for is there, and it will not look
            raise
        return not self._leave(waiter)

    def _leave(self, waiter: _Waiter) -> bool:
        """Wait no more; return whether it waited still, as nobody had woken it."""
        with self._lock:
            return self._waiting.pop(waiter, waiter) is None
