"""Stream a kept model as a tar archive."""

import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

CHUNK_BYTES = 1 << 20


def tar(directory: Path, name: str) -> Iterator[bytes]:
    """Yield the bytes of a tar archive of the files of ``directory``, which is called ``name`` in it."""
    # opened now: a better model may replace the folder while this one is on its way
    files = [(path, path.open("rb")) for path in sorted(directory.rglob("*")) if _is_whole(path)]

    def stream() -> Iterator[bytes]:
        try:
            for path, file in files:
                yield from _member(f"{name}/{path.relative_to(directory)}", file)
            yield bytes(2 * tarfile.BLOCKSIZE)
        finally:
            for _, file in files:
                file.close()

    return stream()


def _is_whole(path: Path) -> bool:
    """A file, and not one that is being written."""
    return path.is_file() and not path.name.startswith(".")


def _member(archived_name: str, file: BinaryIO) -> Iterator[bytes]:
    member = tarfile.TarInfo(archived_name)
    status = os.fstat(file.fileno())
    member.size, member.mtime = status.st_size, int(status.st_mtime)
    yield member.tobuf(tarfile.PAX_FORMAT)
    while chunk := file.read(CHUNK_BYTES):
        yield chunk
    yield bytes(-member.size % tarfile.BLOCKSIZE)
