"""Which threads do what, so that nothing that people do holds up a worker.

Calls are synchronous and run in threads (decision 0021). The threads that anyio lends by itself are for people: what is
not named here runs in them.
"""

from collections.abc import Callable
from typing import TypeVar, TypeVarTuple, Unpack

from anyio import CapacityLimiter
from anyio.lowlevel import RunVar
from anyio.to_thread import run_sync

_Args = TypeVarTuple("_Args")
_Result = TypeVar("_Result")

N_FOR_PEOPLE = 20
"""Threads that anyio lends by itself, set when the service starts."""


class Threads:
    """A number of threads of a service; each event loop, of which only tests have several, has its own."""

    def __init__(self, n: int) -> None:
        self.n = n
        self._limiter: RunVar[CapacityLimiter] = RunVar("limiter")

    async def run(self, call: Callable[[Unpack[_Args]], _Result], *args: *_Args) -> _Result:
        """Return what ``call`` returns in one of these threads, after waiting until one is free."""
        limiter = self._limiter.get(None)
        if limiter is None:
            limiter = CapacityLimiter(self.n)
            self._limiter.set(limiter)
        return await run_sync(call, *args, limiter=limiter)


FOR_WORKERS = Threads(12)
"""Heartbeats, reports, results and whatever else a worker says: each takes milliseconds."""

FOR_DISPATCH = Threads(12)
"""Looks for work, which may propose for seconds: heartbeats must not queue behind them."""

FOR_BODIES = Threads(2)
"""People's JSON bodies, while they are read and checked: up to 200 ms each, in which they compute."""

FOR_UPLOADS = Threads(4)
"""Pieces of uploaded files on their way to the disk; they alone need no connection to the database."""

FOR_KEEPING = Threads(4)
"""Whole uploads, while they are checked and brought to where they stay: minutes, where that is a bucket."""

FOR_FILES = Threads(3)
"""Looks for files that a worker fetches: they take seconds while a bucket does not answer."""

FOR_PLOTS = Threads(1)
"""Plots, while they are drawn: up to a second each, in which they compute."""
