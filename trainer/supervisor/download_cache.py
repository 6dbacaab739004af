"""Keeps what workers of this user have downloaded, data sets and models, within a number of bytes.

Entries are files and folders that are named after a SHA-256. Who uses one locks it (``flock``); the kernel lets go when
a process dies. So what is in use is never removed, and of the rest what was used longest ago goes first.
"""

import fcntl
import logging
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from spezia.contract.assignments import Assignment
from spezia.contract.dataset import PREFIX
from trainer.user_cache import user_cache

_LOG = logging.getLogger(__name__)

_FREE_SHARE = 0.5
_LOCKS = "locks"
_ABANDONED_SECONDS = 24 * 3600.0
"""Age of what a worker that was killed has left half downloaded."""


def downloads_folder() -> Path:
    """Return the folder of downloads, for all workers of this user; names are hashes, so nothing goes stale."""
    return user_cache() / "downloads"


def uploads_of(assignment: Assignment) -> set[str]:
    """Return the SHA-256 of each data set and model that was uploaded and that the assignment names."""
    spec = assignment.spec
    named = [] if spec.data is None else [spec.data.train, spec.data.validation, spec.data.test]
    if spec.model is not None:
        named.append(spec.model.name)
    return {name.removeprefix(PREFIX) for name in named if name is not None and name.startswith(PREFIX)}


class DownloadCache:
    """The downloads in one folder, for all processes that use it."""

    def __init__(self, folder: Path, max_bytes: int | None = None) -> None:
        """Name the folder, which need not be there yet.

        Args:
            max_bytes: What it may hold, but for what is in use; ``None``: half of the disk that is free without it.
        """
        self.folder = folder
        self._max_bytes = max_bytes

    @contextmanager
    def holding(self, sha256s: Iterable[str]) -> Iterator[None]:
        """Let nothing remove what these hashes name while the block runs, and remove what is too much when it ends."""
        wanted = sorted(sha256s)
        if not wanted:
            yield
            return
        (self.folder / _LOCKS).mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            for sha256 in wanted:
                lock = stack.enter_context((self.folder / _LOCKS / sha256).open("a"))
                fcntl.flock(lock, fcntl.LOCK_SH)  # whoever removes it has that for a moment only
            yield
        self.tidy()

    def tidy(self) -> None:
        """Remove what was used longest ago, until the rest fits, and what was never downloaded to its end."""
        entries = [path for path in _listed(self.folder) if path.name != _LOCKS]
        for path in entries:
            if path.name.startswith(".") and _age(path) > _ABANDONED_SECONDS:
                _delete(path)
        whole = {path: _size(path) for path in entries if not path.name.startswith(".")}
        used = sum(whole.values())
        limit = self._limit(used)
        for path in sorted(whole, key=_age, reverse=True):
            if used <= limit:
                return
            if self._remove_unused(path):
                _LOG.info("removed %s, which was used longest ago: downloads may take %d bytes", path, limit)
                used -= whole[path]

    def _remove_unused(self, path: Path) -> bool:
        with (self.folder / _LOCKS / path.name.partition(".")[0]).open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            _delete(path)
            return True

    def _limit(self, used: int) -> int:
        if self._max_bytes is not None:
            return self._max_bytes
        return int(_FREE_SHARE * (shutil.disk_usage(self.folder).free + used))


def _listed(folder: Path) -> list[Path]:
    return [folder / name for name in os.listdir(folder)]


def _age(path: Path) -> float:
    """Seconds since an entry was used last; of one that another worker has just removed, none."""
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    total = 0
    for file in files:
        try:
            total += file.stat().st_size
        except FileNotFoundError:  # another worker has just removed it
            continue
    return total


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
