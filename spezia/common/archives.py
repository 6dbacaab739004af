"""The one file in a gzip or zip archive, read as a stream."""

import gzip
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, BinaryIO, Literal

Kind = Literal["gzip", "zip"]
"""Kind of an archive."""

MAGIC: dict[bytes, Kind] = {b"\x1f\x8b": "gzip", b"PK\x03\x04": "zip", b"PK\x05\x06": "zip"}
"""Kind of an archive by the bytes with which its file begins."""

_PIECE_BYTES = 1 << 20

_BROKEN = (OSError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error, struct.error)
"""What the standard library raises for archives that are broken or encrypted."""


class BadArchive(Exception):
    """An archive cannot be read. The message says why and what to do; the name of its file is put in front of it."""


@contextmanager
def open_archive(file: BinaryIO, kind: Kind) -> Iterator[tuple[str, Iterator[bytes]]]:
    """Open the one file in an archive, and yield its name, which is empty for gzip, and pieces of its content.

    A piece has at most a megabyte, and is unpacked when it is asked for: whoever reads bounds the whole. What the
    archive says of itself is not believed.

    Raises:
        BadArchive: it holds another number of files, or is broken, encrypted or packed in a rare way. What the block
            itself raises while it reads, such as an ``OSError``, is taken for that, too.
    """
    try:
        if kind == "gzip":
            with gzip.GzipFile(fileobj=file, mode="rb") as stream:
                yield "", _pieces(stream)
        else:
            with zipfile.ZipFile(_SmallReads(file)) as archive, archive.open(_only_file(archive)) as stream:
                yield stream.name, _pieces(stream)
    except _BROKEN as error:
        raise BadArchive(f"cannot be unpacked ({error}); pack it again, or give the file itself") from error


def _pieces(stream: IO[bytes] | gzip.GzipFile) -> Iterator[bytes]:
    while piece := stream.read(_PIECE_BYTES):
        yield piece


def _only_file(archive: zipfile.ZipFile) -> str:
    # Archives of macOS hold a second file for each, of its attributes
    files = [file for file in archive.infolist() if not file.is_dir() and "__MACOSX/" not in file.filename]
    if len(files) != 1:
        raise BadArchive(f"holds {len(files)} files; pack one file, or give the files themselves")
    if files[0].compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        # LZMA may ask for 4 GB of memory
        raise BadArchive("is packed in a rare way; pack it again by deflate, or give the file itself")
    return files[0].filename


class _SmallReads:
    """A file of which nothing large is read at once: the list of a zip's files, whose size it states, is read whole."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, size: int = -1) -> bytes:
        if size > _PIECE_BYTES:
            raise BadArchive("holds many files; pack one file, or give the files themselves")
        return self._file.read(size)
