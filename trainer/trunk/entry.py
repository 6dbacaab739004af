"""The file of one cached trunk: hidden states of every row of a split, read through a memory map.

A header of ``HEADER_BYTES`` (JSON, padded), the place of every row, then the rows one after another. Header
and contents are checked when a file is opened, contents again only if the file has changed since this process checked
them, so that half a file, or a damaged one, is never trained on.

N = rows of the split, T = tokens of a row, D = width of a hidden state, S = tokens of all rows together.
"""

import json
import os
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import IO, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

HEADER_BYTES = 512
"""Size of the header of a file, padding included."""
_FORMAT = 2
"""Number of the file format; raised when older files cannot be read any more."""
_CHUNK_BYTES = 1 << 24
_YOUNG_NS = 1_000_000_000
"""Time after a write in which another one may leave the same time: file systems count in steps of milliseconds."""

Stored = NDArray[np.float32] | NDArray[np.uint16]
"""Hidden states as they lie in a file: fp32, or the bits of bf16, which numpy does not know."""


class FileVersion(NamedTuple):
    """What tells one content of a file from another one."""

    inode: int
    size: int
    """Bytes."""
    written_ns: int
    """Time of the last write, in nanoseconds since 1970."""


class CorruptEntry(Exception):
    """The file is not what its writer wrote, and must be made again."""


@dataclass(frozen=True, kw_only=True)
class _Header:
    format: int
    n_rows: int
    n_tokens: int
    width: int
    dtype: str
    crc32: int
    seconds: float | None = None
    """Time that computing the hidden states takes, from the inputs on; files of before lack it."""

    def encode(self) -> bytes:
        return json.dumps(asdict(self)).encode().ljust(HEADER_BYTES - 1) + b"\n"

    @classmethod
    def decode(cls, text: bytes) -> Self:
        try:
            header = cls(**json.loads(text))
        except (ValueError, TypeError) as error:
            raise CorruptEntry(f"no header: {error}") from error
        if header.format != _FORMAT or header.dtype not in ("float32", "uint16"):
            raise CorruptEntry(f"format {header.format} of {header.dtype}, not {_FORMAT}")
        return header

    @property
    def file_bytes(self) -> int:
        return HEADER_BYTES + 16 * self.n_rows + self.n_tokens * self.width * np.dtype(self.dtype).itemsize


@dataclass(frozen=True, kw_only=True)
class TrunkEntry:
    """An open file of hidden states. It may be unlinked while it is open; what is mapped stays."""

    places_N2: NDArray[np.int64]
    """Place of every row: its first token in ``hidden_SD``, and how many it has."""
    hidden_SD: Stored
    """Hidden states of all tokens, a view of the file."""
    seconds_per_row: float | None = None
    """Time that frozen blocks took for a row, on average over the split; ``None``: it is not known."""
    version: FileVersion
    """Version of the file."""
    is_settled: bool
    """Whether whoever writes into the file from now on gives it another version."""
    seconds_spent: float = 0.0
    """Time that this process has spent on computing the hidden states; 0 where they were there already."""

    def row(self, row: int) -> Stored:
        """Return the hidden states ``[T, D]`` of one row, counted from 0; a view of the file."""
        start, length = self.places_N2[row]
        return self.hidden_SD[start : start + length]

    def take(self, rows: Sequence[int]) -> "TrunkEntry":
        """Return an entry of some of the rows, counted from 0, in the order given."""
        return replace(self, places_N2=self.places_N2[np.asarray(rows)])


def entry_bytes(n_rows: int, n_tokens: int, width: int, itemsize: int) -> int:
    """Return the size in bytes of a file before it is written."""
    return HEADER_BYTES + 16 * n_rows + n_tokens * width * itemsize


def write_entry(
    file: IO[bytes],
    n_rows: int,
    rows: Iterable[tuple[int, Stored]],
    *,
    seconds_below: float | None = 0.0,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Write all rows, in whatever order they come, each once, into a file of ``entry_bytes``.

    The header comes last, so that a writer that dies leaves no valid file.

    Args:
        seconds_below: time that was taken earlier for what the rows are computed from; ``None``: it is not known.

    Returns:
        The seconds that computing the rows has taken now.

    Raises:
        OSError: the disk is full, or cannot be written.
    """
    places_N2 = np.zeros((n_rows, 2), dtype=np.int64)
    file.seek(HEADER_BYTES + places_N2.nbytes)
    n_tokens, crc, width, dtype = 0, 0, 0, ""
    timed = _Timed(rows, clock)
    for row, hidden_TD in timed:
        content = np.ascontiguousarray(hidden_TD)
        length, width = content.shape
        dtype = content.dtype.name
        places_N2[row] = n_tokens, length
        n_tokens += length
        crc = zlib.crc32(content.data, crc)
        file.write(content.data)
    crc = zlib.crc32(places_N2.data, crc)
    header = _Header(
        format=_FORMAT,
        n_rows=n_rows,
        n_tokens=n_tokens,
        width=width,
        dtype=dtype,
        crc32=crc,
        seconds=None if seconds_below is None else seconds_below + timed.seconds,
    )
    file.seek(0)
    file.write(header.encode())
    file.write(places_N2.data)
    # No fsync: after a power cut the checksum tells
    file.flush()
    return timed.seconds


class _Timed:
    """Rows, and the seconds that computing them took: writing them is not counted."""

    def __init__(self, rows: Iterable[tuple[int, Stored]], clock: Callable[[], float]) -> None:
        self._rows = iter(rows)
        self._clock = clock
        self.seconds = 0.0

    def __iter__(self) -> Iterator[tuple[int, Stored]]:
        return self

    def __next__(self) -> tuple[int, Stored]:
        began = self._clock()
        try:
            return next(self._rows)
        finally:
            self.seconds += self._clock() - began


def open_entry(file: IO[bytes], checked: FileVersion | None = None) -> TrunkEntry:
    """Map a file into memory and check all of it: about a second for a gigabyte.

    Args:
        checked: version of the file whose contents need not be checked again.

    Raises:
        CorruptEntry: sizes or checksum do not fit.
    """
    status = os.fstat(file.fileno())
    version = FileVersion(status.st_ino, status.st_size, status.st_mtime_ns)
    is_settled = time.time_ns() - status.st_mtime_ns >= _YOUNG_NS
    file.seek(0)
    header = _Header.decode(file.read(HEADER_BYTES))
    size = file.seek(0, 2)
    if size != header.file_bytes or header.n_rows < 1 or header.n_tokens < 1:
        raise CorruptEntry(f"{size} bytes, not {header.file_bytes}")
    file.seek(HEADER_BYTES)
    places_N2 = np.frombuffer(file.read(16 * header.n_rows), dtype=np.int64).reshape(-1, 2)
    mapped = np.memmap(
        file,
        dtype=header.dtype,
        mode="r",
        offset=HEADER_BYTES + places_N2.nbytes,
        shape=(header.n_tokens, header.width),
    )
    hidden_SD: Stored = mapped.view(np.ndarray)  # the same memory; slices of a memmap are slow
    if version != checked and _checksum(hidden_SD, places_N2) != header.crc32:
        raise CorruptEntry("the checksum differs")
    seconds_per_row = None if header.seconds is None else header.seconds / header.n_rows
    return TrunkEntry(
        places_N2=places_N2,
        hidden_SD=hidden_SD,
        seconds_per_row=seconds_per_row,
        version=version,
        is_settled=is_settled,
    )


def _checksum(hidden_SD: Stored, places_N2: NDArray[np.int64]) -> int:
    crc = 0
    step = max(1, _CHUNK_BYTES // hidden_SD[0].nbytes)
    for start in range(0, len(hidden_SD), step):
        crc = zlib.crc32(hidden_SD[start : start + step].data, crc)
    return zlib.crc32(places_N2.data, crc)
