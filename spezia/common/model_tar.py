"""Stream a model as a tar archive."""

import os
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path

CHUNK_BYTES = 1 << 20
END = bytes(2 * tarfile.BLOCKSIZE)
"""What a tar archive ends with."""


def tar(files: Mapping[str, Path], name: str) -> Iterator[bytes]:
    """Yield the bytes of a tar archive of ``files``, by their paths in a directory that is called ``name`` in it."""
    for file, path in files.items():
        with path.open("rb") as content:
            status = os.fstat(content.fileno())
            pieces = iter(partial(content.read, CHUNK_BYTES), b"")
            yield from tar_member(f"{name}/{file}", status.st_size, int(status.st_mtime), pieces)
    yield END


def tar_member(name: str, size_bytes: int, mtime: int, pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the bytes of one file in a tar archive: its header, its content, and zeros up to a whole block.

    Args:
        mtime: Time of the file, in seconds since 1970.
    """
    member = tarfile.TarInfo(name)
    member.size, member.mtime = size_bytes, mtime
    yield member.tobuf(tarfile.GNU_FORMAT)
    yield from pieces
    yield bytes(-size_bytes % tarfile.BLOCKSIZE)
