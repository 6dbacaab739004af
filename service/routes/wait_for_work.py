"""A dispatch that waits until there is work, holding neither a thread nor a connection."""

from collections.abc import Awaitable, Callable
from time import monotonic

from service.lifecycle.leases.dispatch import Found
from service.work_signal import WorkSignal

POLL_SECONDS = 5.0
"""How often a waiting dispatch looks without having been woken: words between services may be lost, and the time of a
study runs out without a word."""

LOOKS_PER_SECOND = 10.0
"""How often all that wait look together, at most, without having been woken: the more there are, the more rarely each
does, for what one finds it says to the others. A thousand workers would else look two hundred times a second."""

Look = Callable[[bool], Awaitable[Found]]
"""Looks once; told whether this is the first look of the request."""


async def wait_for_work(
    look: Look,
    work: WorkSignal,
    seconds: float,
    is_gone: Callable[[], Awaitable[bool]],
    timer: Callable[[], float] = monotonic,
) -> Found:
    """Look for work, and again whenever there may be some, until there is or the time is over.

    Args:
        is_gone: Tells whether the request was given up. Its worker asks anew, and what it gets then must stay its own.
    """
    until = timer() + seconds
    mark = work.mark()
    found = await look(True)
    while not found.has_work and (left := until - timer()) > 0:
        patience = max(POLL_SECONDS, work.n_waiting / LOOKS_PER_SECOND)
        is_woken = await work.wait(mark, min(patience, left))
        is_left = True
        try:
            if await is_gone():
                break
            mark = work.mark()
            found = await look(False)
            is_left = found.is_left
        finally:
            if is_woken and is_left:
                work.pass_on()
            elif found.has_work:
                work.notify()  # the word was lost, or time alone has made it: there may be more
    return found
