"""Ending with one's parent, however the parent ends."""

import ctypes
import os
import sys
import threading

_PR_SET_PDEATHSIG = 1


def end_with_parent(signal_number: int) -> None:
    """Send a signal to this process when its stdin closes and, on Linux, when its parent is gone.

    A parent that dies does both, so a second signal must change nothing.

    Raises:
        OSError: the kernel refuses.
    """
    threading.Thread(target=_watch_stdin, args=(signal_number,), name="end-with-parent", daemon=True).start()
    end_by_kernel(os.getppid(), signal_number)


def end_by_kernel(parent_pid: int, signal_number: int) -> None:
    """Let the kernel send a signal to this process when its parent is gone, which only Linux can.

    The kernel watches the *thread* that started this process, so that thread must live as long as the parent means
    this process to.

    Raises:
        OSError: the kernel refuses.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_PDEATHSIG, signal_number) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent_pid:  # it died before the kernel was asked
        os.kill(os.getpid(), signal_number)


def _watch_stdin(signal_number: int) -> None:
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal_number)
