"""A checkpoint as one stream of bytes: what comes out is what went in, and anything else is refused."""

from pathlib import Path

import pytest

from tests.trainer.trial.test_checkpoint_folder import STUDY, marker, save
from trainer.trial.checkpoint_folder import STATE, CheckpointFolder
from trainer.trial.packed_checkpoint import pack, unpack


def stream(folder: Path, step: int = 1, size_bytes: int = 3 * 2**20 + 1) -> bytes:
    save(CheckpointFolder(folder), marker(3, step=step, size_bytes=size_bytes))
    packed = pack(CheckpointFolder(folder), STUDY, 3, 1, step)
    assert packed is not None
    content = b"".join(packed.chunks())
    assert packed.size_bytes == len(content)
    return content


@pytest.mark.parametrize("size_bytes", [0, 1, 2**20, 3 * 2**20 + 1])
def test_a_checkpoint_is_the_same_after_its_journey(tmp_path: Path, size_bytes: int) -> None:
    received = tmp_path / "received"
    received.write_bytes(stream(tmp_path, size_bytes=size_bytes))
    assert unpack(received) == marker(3, size_bytes=size_bytes)
    assert received.read_bytes() == (tmp_path / STUDY / "3" / "1" / "at-10" / STATE).read_bytes()


def test_only_the_checkpoint_of_that_step_is_packed(tmp_path: Path) -> None:
    stream(tmp_path, step=2)
    folder = CheckpointFolder(tmp_path)
    assert pack(folder, STUDY, 3, 1, 1) is None
    assert pack(folder, STUDY, 3, 2, 2) is None
    assert pack(folder, STUDY, 4, 1, 2) is None


@pytest.mark.parametrize(
    "damaged", [b"", b"\x00", b"\xff\xff\xff\xff", b"state{}\x00\x00\x00\x02", b"state\x00\x00\x00\x00"]
)
def test_what_is_no_checkpoint_is_refused(tmp_path: Path, damaged: bytes) -> None:
    received = tmp_path / "received"
    received.write_bytes(damaged)
    with pytest.raises(ValueError, match="is no checkpoint"):
        unpack(received)


def test_a_stream_that_lost_its_beginning_is_refused(tmp_path: Path) -> None:
    received = tmp_path / "received"
    received.write_bytes(stream(tmp_path)[1:])
    with pytest.raises(ValueError, match=r"3145728 bytes, and 3145729 were written"):
        unpack(received)
