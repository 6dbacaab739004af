"""Where the services of one database keep what is uploaded: a folder, or a bucket of an S3-compatible store.

A file comes in three steps, so that it is there whole or not at all and no lock waits for a network: it is written in
the scratch folder of this machine, *sent*, and *kept* in the transaction that notes it.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from service.files.stored_file import StoredFile


class Files(Protocol):
    """The uploaded files of one database.

    Each method may wait for a disk or a network, and raises `Unavailable` where that refuses it.
    """

    @property
    def is_at_hand(self) -> bool:
        """Whether an answer takes milliseconds, so that a worker's call may wait for one."""
        ...

    @property
    def place(self) -> str:
        """Where the files lie, as it is told to people."""
        ...

    def scratch(self, folder: str) -> Path:
        """Folder of this machine in which a file is written, under a name with a dot before it, that will be kept in
        ``folder``."""
        ...

    def send(self, written: Path, file: StoredFile) -> None:
        """Bring a whole file from the scratch folder to where `keep` finds it, which may take minutes.

        One that is never kept is found by nobody, and goes with its folder.
        """
        ...

    def keep(self, written: Path, file: StoredFile) -> None:
        """Give a file that was sent its place for good, at once."""
        ...

    def has(self, file: StoredFile) -> bool:
        """Return whether a file is there."""
        ...

    def has_folder(self, folder: str) -> bool:
        """Return whether a folder is there."""
        ...

    def folders(self, folder: str) -> set[str]:
        """Return the names of the folders in a folder."""
        ...

    def reading(
        self, file: StoredFile, start: int = 0, end: int | None = None
    ) -> AbstractContextManager[Iterator[bytes]]:
        """Open a file, to be read from ``start`` to before ``end`` in pieces of a few MiB at most.

        Raises:
            FileNotFoundError: It is not there.
        """
        ...

    def local_path(self, file: StoredFile) -> Path | None:
        """Path by which a program of this machine opens a file; ``None``: there is none."""
        ...

    def local_folder(self, folder: str) -> Path | None:
        """Path by which a program of this machine opens a folder; ``None``: there is none."""
        ...

    def remove(self, folder: str) -> None:
        """Remove a folder with all files in it; harmless where it is not there."""
        ...

    def mark(self, name: str) -> None:
        """Put a marker beside the folders, by which services know that they share their files."""
        ...

    def is_marked(self, name: str) -> bool:
        """Return whether a marker is there."""
        ...

    def remove_abandoned(self) -> None:
        """Remove what a crash has left on the way to its place; what is younger than a day may be in the middle."""
        ...
