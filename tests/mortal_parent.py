"""A parent that can end without this process: the kernel takes the thread that started a process for its parent."""

import subprocess
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

SECONDS = 20.0


class MortalParent:
    """A thread that starts one process, holds its pipes, and lives until ``end``."""

    def __init__(self, command: Sequence[str], processes: ExitStack) -> None:
        """The process is killed with ``processes``, if it still runs."""
        self._command = command
        self._is_over = threading.Event()
        self._has_started = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        assert self._has_started.wait(SECONDS)
        processes.enter_context(self.process)
        processes.callback(self.process.kill)
        processes.callback(self._is_over.set)

    def close_pipe(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    def end(self) -> None:
        """End the thread, as the kernel sees it; the pipes stay open."""
        task = Path(f"/proc/self/task/{self._thread.native_id}")
        self._is_over.set()
        self._thread.join()
        deadline = time.monotonic() + SECONDS
        while task.exists():  # for a moment longer than its Python
            assert time.monotonic() < deadline

    def _run(self) -> None:
        self.process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self._has_started.set()
        self._is_over.wait()
