"""Stream a kept model as a tar archive."""

import os
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

CHUNK_BYTES = 1 << 20


def tar(files: Mapping[str, Path], name: str) -> Iterator[bytes]:
    """Yield the bytes of a tar archive of ``files``, by their paths in a directory that is called ``name`` in it."""
    archive = _stream(files, name)
    next(archive)
    return archive


def _stream(files: Mapping[str, Path], name: str) -> Iterator[bytes]:
    with ExitStack() as stack:
        opened = {file: stack.enter_context(path.open("rb")) for file, path in files.items()}
        yield b""  # all are open: a better model may replace the folder while this one is on its way
        for file, content in opened.items():
            yield from _member(f"{name}/{file}", content)
        yield bytes(2 * tarfile.BLOCKSIZE)


def _member(archived_name: str, file: BinaryIO) -> Iterator[bytes]:
    member = tarfile.TarInfo(archived_name)
    status = os.fstat(file.fileno())
    member.size, member.mtime = status.st_size, int(status.st_mtime)
    yield member.tobuf(tarfile.GNU_FORMAT)
    while chunk := file.read(CHUNK_BYTES):
        yield chunk
    yield bytes(-member.size % tarfile.BLOCKSIZE)
