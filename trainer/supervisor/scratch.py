"""Makes folders that a supervisor passes models through, and removes those of supervisors that were killed.

Each is locked by the process that uses it. The kernel drops the lock with the process, however that ended, and whatever
namespace its id is counted in.
"""

import contextlib
import fcntl
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = "spezia-work-"
"""Beginning of the names of these folders."""
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW

_LOG = logging.getLogger(__name__)


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Yield an empty folder of this process's own among the temporary files; it is gone afterwards."""
    with contextlib.ExitStack() as stack:
        while True:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True)))
            with contextlib.suppress(FileNotFoundError):
                lock = os.open(folder, _DIRECTORY)
                stack.callback(os.close, lock)
                with contextlib.suppress(OSError):  # on a disk that knows no locks, where nothing is swept either
                    fcntl.flock(lock, fcntl.LOCK_EX)
                if folder.exists():  # else somebody swept it before it was locked
                    break
        yield folder


def sweep_scratch() -> None:
    """Remove folders of this user that nobody uses any more."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        # Gone meanwhile, no folder, of another user, in use, or on a disk that knows no locks
        with contextlib.suppress(OSError):
            _remove_if_unused(folder)


def _remove_if_unused(folder: Path) -> None:
    lock = os.open(folder, _DIRECTORY)
    try:
        if os.fstat(lock).st_uid == os.geteuid():
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder)
            _LOG.info("removed %s, left behind by a worker that was killed", folder)
    finally:
        os.close(lock)
