"""Keeps cached trunks in a folder, shared by all processes of a machine, within a byte budget.

``KEY.trunk`` is a finished entry, ``KEY.partial`` one that is being made. Each of them is locked (``flock``) by the
processes that use it, shared while it is mapped, exclusively while it is made; the kernel lets go when a process dies.
So nothing that is in use is ever removed, and what a dead process left behind is free to take.
"""

import contextlib
import fcntl
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO

from trainer.trunk.entry import CorruptEntry, FileVersion, TrunkEntry, open_entry
from trainer.trunk.proofs import Proofs

DEFAULT_BYTES = 20 * 2**30
"""Bytes that the folder may hold by default. A split of 10,000 rows of 100 tokens takes 1.5 GB at width 384."""

RESERVE_BYTES = 2**30
"""Bytes of a disk that are left free: databases and checkpoints may lie on it."""

WAIT_SECONDS = 300.0
"""Time that another process has to finish an entry; less than a supervisor lets an engine stand still."""

_POLL_SECONDS = 0.1
_LOG = logging.getLogger(__name__)


class CacheUnavailable(Exception):
    """Training goes on without the cache, for the reason in the message."""


class TrunkCache:
    """Cached trunks in one folder, with a limit to the bytes that they take together."""

    def __init__(
        self,
        folder: Path,
        max_bytes: int = DEFAULT_BYTES,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Name the folder, which need not be there yet; ``clock`` times in seconds what is computed for it."""
        self._folder = folder
        self._max_bytes = max_bytes
        self._sleep = sleep
        self.clock = clock
        self.seconds_spent = 0.0
        """Seconds that this process has spent on computing entries."""
        self._checked: dict[str, FileVersion] = {}
        """Versions of entries, by key, whose contents this process has checked once they were settled."""
        self.proofs = Proofs(folder)
        """What opened trunks have been shown to be, by the make of their models."""

    def entry(self, key: str, size_bytes: int, write: Callable[[IO[bytes]], float]) -> TrunkEntry:
        """Open the entry ``key``, after ``write`` has made it if no process of this machine has before.

        What is returned stays in place until it is garbage.

        Args:
            size_bytes: bytes that ``write`` will write.
            write: returns the seconds that it has computed for.

        Raises:
            CacheUnavailable: no room, no disk, no permission, or another process takes too long over it.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            return self._find_or_make(key, size_bytes, write)
        except (OSError, CorruptEntry) as error:
            raise CacheUnavailable(f"{self._folder}: {error}") from error

    def find(self, key: str) -> TrunkEntry | None:
        """Open the entry ``key`` if there is one and it can be read."""
        try:
            return self._find(key)
        except OSError:
            return None

    def _find_or_make(self, key: str, size_bytes: int, write: Callable[[IO[bytes]], float]) -> TrunkEntry:
        waited = 0.0
        while True:
            found = self._find(key)
            if found is not None:
                return found
            with self._claim(key) as file:
                # Whoever held the claim may have finished between the look and the claim
                found = None if file is None else self._find(key)
                if found is None and file is not None:
                    return self._make(key, file, size_bytes, write)
            if found is not None:
                return found
            if waited >= WAIT_SECONDS:
                raise CacheUnavailable(f"another process has been writing the entry {key[:12]}… for {waited:.0f} s")
            self._sleep(_POLL_SECONDS)
            waited += _POLL_SECONDS

    def _find(self, key: str) -> TrunkEntry | None:
        path = self._folder / f"{key}.trunk"
        try:
            file = path.open("rb")
        except FileNotFoundError:
            return None
        with file:  # its lock lasts as long as its map, which has a descriptor of its own
            if not _lock(file, fcntl.LOCK_SH):
                return None  # on its way out
            try:
                entry = open_entry(file, self._checked.get(key))
            except CorruptEntry as error:
                _LOG.warning("trunk cache: %s is damaged (%s) and made again", path.name, error)
                return None
            if entry.is_settled:
                self._checked[key] = entry.version
            # Used last now, and written when it was
            os.utime(path, ns=(time.time_ns(), os.fstat(file.fileno()).st_mtime_ns))
            return entry

    @contextmanager
    def _claim(self, key: str) -> Iterator[IO[bytes] | None]:
        """The file in which to make ``key``, locked; ``None`` while another process makes it."""
        path = self._folder / f"{key}.partial"
        with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o644), "r+b") as file:
            is_ours = _lock(file, fcntl.LOCK_EX) and _is_at(file, path)
            try:
                yield file if is_ours else None
            finally:
                if is_ours and _is_at(file, path):
                    path.unlink()

    def _make(self, key: str, file: IO[bytes], size_bytes: int, write: Callable[[IO[bytes]], float]) -> TrunkEntry:
        self._reserve(file, size_bytes)
        spent = write(file)
        entry = open_entry(file)
        # In this order: while it has the name of a partial file, nobody else may lock it
        (self._folder / f"{key}.partial").rename(self._folder / f"{key}.trunk")
        fcntl.flock(file, fcntl.LOCK_SH)
        self.seconds_spent += spent
        return replace(entry, seconds_spent=spent)

    def _reserve(self, file: IO[bytes], size_bytes: int) -> None:
        """Make room for ``size_bytes`` and give the file that size, so that others count it."""
        with (self._folder / "lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            file.truncate(0)
            self._make_room(size_bytes)
            file.truncate(size_bytes)

    def _make_room(self, size_bytes: int) -> None:
        for path in self._folder.glob("*.partial"):
            _remove_unused(path)
        used = sum(status.st_size for status, _ in self._files("*.partial"))
        entries = self._files("*.trunk")
        used += sum(status.st_size for status, _ in entries)
        for status, path in sorted(entries, key=lambda entry: entry[0].st_atime_ns):
            fits = used + size_bytes <= self._max_bytes and size_bytes <= self._free_bytes()
            if fits or size_bytes > self._max_bytes:
                break
            if _remove_unused(path):
                used -= status.st_size
        if used + size_bytes > self._max_bytes:
            raise CacheUnavailable(
                f"{size_bytes} bytes more do not fit into a budget of {self._max_bytes}, {used} of which are "
                "taken; raise --cache-bytes of spezia-worker, or SPEZIA_CACHE_BYTES of the service"
            )
        if size_bytes > self._free_bytes():
            raise CacheUnavailable(f"the disk of {self._folder} has no room for {size_bytes} bytes; free some")

    def _files(self, pattern: str) -> list[tuple[os.stat_result, Path]]:
        files = []
        for path in self._folder.glob(pattern):
            with contextlib.suppress(FileNotFoundError):  # another process has finished or removed it
                files.append((path.stat(), path))
        return files

    def _free_bytes(self) -> int:
        return shutil.disk_usage(self._folder).free - RESERVE_BYTES


def _lock(file: IO[bytes], kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(file: IO[bytes], path: Path) -> bool:
    """Whether the open ``file`` is still the one of this name."""
    try:
        return path.stat().st_ino == os.fstat(file.fileno()).st_ino
    except FileNotFoundError:
        return False


def _remove_unused(path: Path) -> bool:
    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        if _lock(file, fcntl.LOCK_EX) and _is_at(file, path):
            path.unlink()
            return True
    return False
