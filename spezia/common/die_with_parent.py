"""Dying with one's parent, however it died."""

import ctypes
import os
import sys

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent_pid: int, signal_number: int) -> None:
    """Let the kernel send ``signal_number`` to this process when its parent is gone.

    Only Linux can; elsewhere a closed pipe has to tell. The kernel watches the *thread* that started
    this process, so that thread must live as long as the parent means this process to.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_PDEATHSIG, signal_number) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent_pid:  # it died before the kernel was asked
        os.kill(os.getpid(), signal_number)
