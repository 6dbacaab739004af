"""Ends a worker that is told to end: in order if it can, and within 24 s whatever it waits for.

It has 20 s to save its trial or to deliver a result, and 4 s to give back what is left. A thread of its own counts
them: the main thread may be deep in a call that no signal interrupts, as when a disk or a name server hangs.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from trainer.supervisor.supervisor import Supervisor

SAVE_SECONDS = 20.0
"""Time for the engine to end its step and write a checkpoint, or for a result to be delivered; Kubernetes kills after
30."""
GIVE_BACK_SECONDS = 4.0
"""Time for what is left after ``SAVE_SECONDS``; local workers are killed 25 s after they were told to end."""

PARENT_GONE = signal.SIGUSR1
"""Signal that the kernel and the thread that watches the pipe send: whichever comes second changes nothing."""
_TOLD_TO_END = (signal.SIGTERM, signal.SIGINT, PARENT_GONE)
_TIME_IS_UP = signal.SIGUSR2


@contextmanager
def end_on_signals(supervisor: Supervisor) -> Iterator[None]:
    """End ``supervisor`` in order at the first signal, at once at a second SIGTERM or SIGINT.

    Must be entered in the main thread, which is the one that runs the supervisor.
    """
    is_ending = False

    def end(number: int, frame: FrameType | None) -> None:
        nonlocal is_ending
        if not is_ending:
            is_ending = True
            supervisor.terminate("the parent is gone" if number == PARENT_GONE else signal.Signals(number).name)
        elif number != PARENT_GONE:
            os._exit(128 + number)

    def cut_short(number: int, frame: FrameType | None) -> None:
        supervisor.cut_short()

    arrivals, announce = os.pipe()
    os.set_blocking(announce, False)
    is_over = threading.Event()
    before = {number: signal.signal(number, end) for number in _TOLD_TO_END}
    before[_TIME_IS_UP] = signal.signal(_TIME_IS_UP, cut_short)
    # the interpreter's own handler writes each signal's number there, whatever the main thread does
    wakeup_fd = signal.set_wakeup_fd(announce)
    arguments = (arrivals, threading.get_ident(), supervisor, is_over)
    clock = threading.Thread(target=_count_down, args=arguments, name="end", daemon=True)
    clock.start()
    try:
        yield
    finally:
        is_over.set()
        signal.set_wakeup_fd(wakeup_fd)
        os.close(announce)
        clock.join()
        os.close(arrivals)
        for number, handler in before.items():
            signal.signal(number, handler)


def _count_down(arrivals: int, main_thread: int, supervisor: Supervisor, is_over: threading.Event) -> None:
    while (number := os.read(arrivals, 1)) and number[0] not in _TOLD_TO_END:
        pass
    if not number or is_over.wait(SAVE_SECONDS):
        return
    signal.pthread_kill(main_thread, _TIME_IS_UP)
    if not is_over.wait(GIVE_BACK_SECONDS):
        supervisor.kill_engine()
        os._exit(128 + signal.SIGTERM)
