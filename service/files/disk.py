"""What a disk of this machine refuses, told to whoever uploads."""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from service.errors import Unavailable

ABANDONED_SECONDS = 24 * 3600.0
"""Time without a byte after which nobody goes on with an upload; a body that stands still is given up after 30 s."""


@contextmanager
def storing_in(folder: Path) -> Iterator[None]:
    """Let what the disk refuses be answered as something that may pass.

    Raises:
        Unavailable: The block was refused by the disk.
    """
    try:
        yield
    except OSError as error:
        raise Unavailable(f"the service cannot store a file in {folder}: {error.strerror}") from error


def remove_abandoned(folder: Path) -> None:
    """Remove uploads into ``folder`` that a crash has ended; younger ones may be another service's, in the middle."""
    for hidden in folder.glob(".*"):
        with suppress(FileNotFoundError):  # another service has just kept or removed it
            written_at = max(path.stat().st_mtime for path in (hidden, *hidden.glob("*")))
            if time.time() - written_at < ABANDONED_SECONDS:
                continue
            if hidden.is_dir():
                shutil.rmtree(hidden, ignore_errors=True)
            else:
                hidden.unlink()
