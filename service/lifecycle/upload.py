"""A file that a caller uploads: hidden and of limited size until it is whole."""

import hashlib
from contextlib import suppress
from pathlib import Path
from typing import IO
from uuid import uuid4

from service.errors import TooLarge
from service.files.disk import storing_in
from spezia.common.write_durably import make_folder_durably, rename_durably, sync


class Upload:
    """Takes a file in, piece by piece, in a scratch folder. Whoever makes one discards it in the end.

    Each method may wait for the disk.

    Args:
        folder: Where the file is written; made when the first piece is.
        limit: The environment variable that sets ``max_bytes``, for the message.
    """

    def __init__(self, folder: Path, max_bytes: int, limit: str) -> None:
        self.path = folder / f".{uuid4().hex}"
        self._max_bytes = max_bytes
        self._limit = limit
        self._digest = hashlib.sha256()
        self._size_bytes = 0
        self._file: IO[bytes] | None = None

    def beside(self) -> "Upload":
        """Return an upload of the same folder and limit, which nothing has been written to."""
        return Upload(self.path.parent, self._max_bytes, self._limit)

    def write(self, piece: bytes) -> None:
        """Append ``piece``.

        Raises:
            TooLarge: The file has more than ``max_bytes``.
            Unavailable: The file cannot be written, for want of space perhaps.
        """
        self._size_bytes += len(piece)
        if self._size_bytes > self._max_bytes:
            raise TooLarge(f"the file is larger than {self._max_bytes} bytes ({self._limit}); send a smaller one")
        self._digest.update(piece)
        with storing_in(self.path.parent):
            self._opened().write(piece)

    def end(self) -> tuple[int, str]:
        """Return the size in bytes and the SHA-256 of the whole file, once its content lasts.

        Raises:
            Unavailable: It cannot be written.
        """
        with storing_in(self.path.parent):
            self._opened().close()
            sync(self.path)
        return self._size_bytes, self._digest.hexdigest()

    def keep_as(self, name: str) -> None:
        """Give the whole file its name in its folder, so that the name lasts.

        Raises:
            Unavailable: The disk refuses it.
        """
        with storing_in(self.path.parent):
            rename_durably(self.path, self.path.parent / name)

    def discard(self) -> None:
        """Remove what has not been kept."""
        if self._file is not None:
            with suppress(OSError):  # a full disk does not take what is still in the buffer
                self._file.close()
            self.path.unlink(missing_ok=True)

    def _opened(self) -> IO[bytes]:
        if self._file is None:
            make_folder_durably(self.path.parent)
            self._file = self.path.open("xb")
        return self._file
