"""Files and folders that a power cut cannot take back or tear.

A file lasts once it is synced *and* the folder that holds its name is; a folder, once the one above it is.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


def write_durably(path: Path, chunks: Iterable[bytes]) -> tuple[int, str]:
    """Write a new file of ``chunks`` whose content lasts; return its size in bytes and its SHA-256.

    Its name lasts after ``rename_durably``, or once its folder is synced.
    """
    digest, size_bytes = hashlib.sha256(), 0
    with durable_file(path) as file:
        for chunk in chunks:
            digest.update(chunk)
            size_bytes += file.write(chunk)
    return size_bytes, digest.hexdigest()


@contextmanager
def durable_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a new file whose content lasts once this is left without an error."""
    with path.open("xb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def rename_durably(path: Path, final: Path) -> None:
    """Give a file or folder its final name in the same folder, so that the name lasts."""
    path.replace(final)
    sync(final.parent)


def make_folder_durably(folder: Path) -> None:
    """Make ``folder`` and those above it that are missing, so that they last."""
    for missing in reversed([one for one in (folder, *folder.parents) if not one.exists()]):
        missing.mkdir(exist_ok=True)
        sync(missing.parent)


def sync(path: Path) -> None:
    """Let what has been written to a file, or the names in a folder, last."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
