"""The helper process, in which sampler ``gp`` may import torch."""

import multiprocessing
import os
import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.connection import wait


def start_helper() -> ProcessPoolExecutor:
    """Start a process that works for this one and ends with it, however it ends."""
    # spawned, not forked: the service has threads, and a fork would inherit their locks
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(max_workers=1, mp_context=context, initializer=_end_with_parent)


def _end_with_parent() -> None:
    """Let the helper end when the service dies, even by SIGKILL: an executor's own pipe would not tell it."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, name="end-with-parent", daemon=True).start()
