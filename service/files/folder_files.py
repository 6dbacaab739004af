"""Uploaded files in a folder, which services may share as a mounted one."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from service.files.disk import remove_abandoned, storing_in
from service.files.stored_file import DATASETS, MODELS, StoredFile
from spezia.common.write_durably import make_folder_durably, rename_durably, sync

PIECE_BYTES = 1 << 20
"""So much of a file is read at once."""


class FolderFiles:
    """The folder of uploaded files: a file lies below it where its path says, and is named at once when it is kept."""

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()

    is_at_hand = True

    @property
    def place(self) -> str:
        """Path of the folder."""
        return str(self._root)

    def scratch(self, folder: str) -> Path:
        """The folder itself, since a file is renamed within its file system."""
        return self._root / folder

    def send(self, written: Path, file: StoredFile) -> None:
        """Nothing: the file is written where it is kept."""

    def keep(self, written: Path, file: StoredFile) -> None:
        """Give a file its name in its folder, so that the name lasts; a name that is taken is replaced."""
        final = self._root / file.path
        with storing_in(final.parent):
            make_folder_durably(final.parent)
            rename_durably(written, final)

    def has(self, file: StoredFile) -> bool:
        """Return whether a file is there."""
        return (self._root / file.path).is_file()

    def has_folder(self, folder: str) -> bool:
        """Return whether a folder is there."""
        return (self._root / folder).is_dir()

    def folders(self, folder: str) -> set[str]:
        """Return the names of what is in a folder, of which only folders have a name without a dot before it."""
        return {entry.name for entry in (self._root / folder).iterdir()} if self.has_folder(folder) else set()

    @contextmanager
    def reading(self, file: StoredFile, start: int = 0, end: int | None = None) -> Iterator[Iterator[bytes]]:
        """Open a file, which may be removed meanwhile.

        Raises:
            FileNotFoundError: It is not there.
        """
        with (self._root / file.path).open("rb") as content:
            content.seek(start)
            yield _pieces(content, None if end is None else end - start)

    def local_path(self, file: StoredFile) -> Path | None:
        """Path of a file."""
        return self._root / file.path

    def local_folder(self, folder: str) -> Path | None:
        """Path of a folder."""
        return self._root / folder

    def remove(self, folder: str) -> None:
        """Remove a folder with all files in it, as far as the disk lets us."""
        shutil.rmtree(self._root / folder, ignore_errors=True)

    def mark(self, name: str) -> None:
        """Put a marker beside the folders."""
        make_folder_durably(self._root)
        marker = self._root / name
        marker.write_text("The services on one database know by this file that they share the folder; keep it.\n")
        sync(marker)
        sync(self._root)

    def is_marked(self, name: str) -> bool:
        """Return whether a marker is there."""
        return (self._root / name).exists()

    def remove_abandoned(self) -> None:
        """Remove uploads that a crash has ended; those under a lease go with its folder."""
        for folder in (DATASETS, MODELS):
            remove_abandoned(self._root / folder)


def _pieces(content: IO[bytes], n_left: int | None) -> Iterator[bytes]:
    while piece := content.read(PIECE_BYTES if n_left is None else min(PIECE_BYTES, n_left)):
        yield piece
        n_left = None if n_left is None else n_left - len(piece)
