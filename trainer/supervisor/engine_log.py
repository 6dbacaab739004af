"""What an engine prints, on its way to the log of a trial. Imports no torch."""

import fcntl
import os
import tempfile
import weakref

_MAX_BYTES = 256 * 1024
"""Most bytes of a trial's log that are passed on at a time, every few seconds; the service stores what comes."""


class EngineLog:
    """Text that an engine prints, in a file without a name, so that nothing is left of it."""

    def __init__(self) -> None:
        with tempfile.TemporaryFile() as file:
            self._file = os.dup(file.fileno())
        weakref.finalize(self, os.close, self._file)
        # so that it may be cut while the engine writes
        fcntl.fcntl(self._file, fcntl.F_SETFL, fcntl.fcntl(self._file, fcntl.F_GETFL) | os.O_APPEND)
        self._n_taken = 0

    def fileno(self) -> int:
        """Return the descriptor that the engine is to print to."""
        return self._file

    def start(self) -> None:
        """Forget what has been printed so far, because an assignment begins."""
        os.ftruncate(self._file, 0)
        self._n_taken = 0

    def take(self) -> str:
        """Return what has been printed since the last call; the middle of a flood is left out."""
        size = os.fstat(self._file).st_size
        start, self._n_taken = self._n_taken, size
        if size - start <= _MAX_BYTES:
            return self._read(start, size)
        half = _MAX_BYTES // 2
        left_out = f"\n… {size - start - 2 * half} bytes left out …\n"
        return self._read(start, start + half) + left_out + self._read(size - half, size)

    def _read(self, start: int, end: int) -> str:
        return os.pread(self._file, end - start, start).decode(errors="replace")
