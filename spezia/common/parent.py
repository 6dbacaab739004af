"""Ending with one's parent, however it ends."""

import ctypes
import os
import signal
import sys
import threading

_PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """Send SIGTERM to this process when its stdin closes or, on Linux, when its parent is gone.

    The kernel watches the *thread* that started this process, so that thread must live as long as the
    parent means this process to.
    """
    parent = os.getppid()
    threading.Thread(target=_wait_for_the_end, name="end-with-parent", daemon=True).start()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it died before the kernel was asked
        os.kill(os.getpid(), signal.SIGTERM)


def _wait_for_the_end() -> None:
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
