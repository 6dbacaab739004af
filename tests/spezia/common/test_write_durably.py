"""What is written durably is there after a power cut, with all of its content; what is not may be lost."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from spezia.common.write_durably import durable_file, make_folder_durably, rename_durably, sync, write_durably
from tests.power_cut import PowerCut


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    (tmp_path / "disk").mkdir()
    return tmp_path / "disk"


@pytest.fixture
def power_cut(disk: Path) -> Iterator[PowerCut]:
    with PowerCut.of(disk) as power_cut:
        yield power_cut


def test_a_file_in_new_folders_lasts(disk: Path, tmp_path: Path, power_cut: PowerCut) -> None:
    folder = disk / "a" / "b"
    make_folder_durably(folder)
    written = write_durably(folder / "new", [b"one", b"two"])
    rename_durably(folder / "new", folder / "file")
    left = power_cut.least(tmp_path / "left")
    assert (left / "a" / "b" / "file").read_bytes() == b"onetwo"
    assert written == (6, hashlib.sha256(b"onetwo").hexdigest())


def test_a_folder_of_files_lasts(disk: Path, tmp_path: Path, power_cut: PowerCut) -> None:
    (disk / "new").mkdir()
    with durable_file(disk / "new" / "file") as file:
        file.write(b"one")
    sync(disk / "new")
    rename_durably(disk / "new", disk / "final")
    left = power_cut.least(tmp_path / "left")
    assert (left / "final" / "file").read_bytes() == b"one"


def test_less_than_that_does_not_last(disk: Path, tmp_path: Path, power_cut: PowerCut) -> None:
    write_durably(disk / "new", [b"one"])
    (disk / "new").rename(disk / "without its name")
    (disk / "folder").mkdir()
    (disk / "torn").write_bytes(b"one")
    assert list(power_cut.least(tmp_path / "least").iterdir()) == []
    most = power_cut.most(tmp_path / "most")
    assert (most / "without its name").read_bytes() == b"one"
    assert (most / "torn").read_bytes() == b""


def test_a_file_that_is_there_is_not_overwritten(disk: Path) -> None:
    (disk / "file").write_bytes(b"one")
    with pytest.raises(FileExistsError):
        write_durably(disk / "file", [b"two"])


def test_a_folder_that_is_there_is_left_alone(disk: Path) -> None:
    (disk / "file").write_bytes(b"one")
    make_folder_durably(disk)
    assert (disk / "file").read_bytes() == b"one"
