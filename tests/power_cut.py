"""What a power cut leaves of a folder: what was there at first, and what has been synced since."""

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest


class PowerCut:
    """Watches what is synced below ``root``. A file that was never synced is left empty where its name is left."""

    def __init__(self, root: Path, open_files: ExitStack) -> None:
        self._root = root
        self._names: dict[int, dict[str, int]] = {}
        """Of folders as they were last synced, by inode: names and what they stood for."""
        self._contents: dict[int, bytes] = {}
        """Of files as they were last synced, by inode."""
        self._open_files = open_files
        for path in [root, *root.rglob("*")]:
            self._note(os.open(path, os.O_RDONLY))

    @classmethod
    @contextmanager
    def of(cls, root: Path) -> Iterator["PowerCut"]:
        """Watch from now on."""
        fsync = os.fsync
        with ExitStack() as open_files, pytest.MonkeyPatch.context() as monkeypatch:
            power_cut = cls(root, open_files)

            def watched(descriptor: int) -> None:
                fsync(descriptor)
                power_cut._note(os.dup(descriptor))

            monkeypatch.setattr(os, "fsync", watched)
            yield power_cut

    def least(self, target: Path) -> Path:
        """Put into ``target`` what is left at the least: names and contents that have been synced."""
        return self._restore(self._root.stat().st_ino, self._names, target)

    def most(self, target: Path) -> Path:
        """Put into ``target`` what may be left: all names as they are, and contents that have been synced."""
        folders = [path for path in [self._root, *self._root.rglob("*")] if path.is_dir()]
        names = {folder.stat().st_ino: _names(folder) for folder in folders}
        return self._restore(self._root.stat().st_ino, names, target)

    def _note(self, descriptor: int) -> None:
        self._open_files.callback(os.close, descriptor)  # held open, so that no other file gets its inode
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            folder = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
            self._names[status.st_ino] = _names(folder)
        else:
            self._contents[status.st_ino] = Path(f"/proc/self/fd/{descriptor}").read_bytes()

    def _restore(self, inode: int, names: Mapping[int, Mapping[str, int]], target: Path) -> Path:
        target.mkdir()
        for name, below in names[inode].items():
            if below in names:
                self._restore(below, names, target / name)
            else:
                (target / name).write_bytes(self._contents.get(below, b""))
        return target


def _names(folder: Path) -> dict[str, int]:
    return {entry.name: entry.inode() for entry in os.scandir(folder)}
