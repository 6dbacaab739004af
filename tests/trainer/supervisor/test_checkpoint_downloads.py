"""A checkpoint that was sent lies where the engine looks for it, whole or not at all."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from spezia.contract.assignments import Resume, SentCheckpoint, TrialAssignment
from tests.fake_service import assignment
from tests.power_cut import PowerCut
from tests.trainer.trial.test_checkpoint_folder import VERSIONS, marker, numbers, save
from trainer.errors import CheckpointLost
from trainer.supervisor.checkpoint_downloads import fetch_checkpoint
from trainer.trial.checkpoint_folder import STATE, CheckpointFolder
from trainer.trial.packed_checkpoint import pack

STUDY = "f" * 32


@pytest.fixture
def content(tmp_path: Path) -> bytes:
    """The checkpoint of trial 3, as another worker has sent it."""
    folder = CheckpointFolder(tmp_path / "elsewhere")
    save(folder, marker(3, study_id=STUDY))
    packed = pack(folder, STUDY, 3, 1, 1)
    assert packed is not None
    return b"".join(packed.chunks())


def trial(sent: bytes | None) -> TrialAssignment:
    """An assignment to go on from a checkpoint."""
    found = None if sent is None else SentCheckpoint(size_bytes=len(sent), sha256=hashlib.sha256(sent).hexdigest())
    given = assignment(number=3, study_id=STUDY, resume=Resume(attempt=1, step=1, sent=found))
    assert isinstance(given, TrialAssignment)
    return given


def never(_: Path) -> None:
    raise AssertionError("nothing is to be fetched")


def writes(content: bytes) -> Callable[[Path], None]:
    def fetch(destination: Path) -> None:
        destination.write_bytes(content)

    return fetch


def test_what_was_sent_is_found_like_a_checkpoint_of_ones_own_and_fetched_once(tmp_path: Path, content: bytes) -> None:
    folder = CheckpointFolder(tmp_path / "here")
    fetch_checkpoint(trial(content), folder, writes(content))
    assert [(one.number, one.attempt, one.step) for one in folder.held(VERSIONS)] == [(3, 1, 1)]
    fetch_checkpoint(trial(content), folder, never)


def test_nothing_is_fetched_where_nothing_was_sent(tmp_path: Path) -> None:
    for given in (trial(None), assignment(), assignment("prepare"), assignment("score")):
        fetch_checkpoint(given, CheckpointFolder(tmp_path), never)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("came", [b"", b"another"])
def test_what_came_otherwise_is_lost_and_leaves_nothing(tmp_path: Path, content: bytes, came: bytes) -> None:
    folder = CheckpointFolder(tmp_path / "here")
    with pytest.raises(CheckpointLost, match="came as"):
        fetch_checkpoint(trial(content), folder, writes(came))
    assert not [path for path in folder.root.rglob("*") if path.is_file()]


def test_what_is_no_checkpoint_though_it_was_sent_is_lost(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    with pytest.raises(CheckpointLost, match="is no checkpoint"):
        fetch_checkpoint(trial(b"nonsense"), folder, writes(b"nonsense"))
    with pytest.raises(CheckpointLost, match="keeps no checkpoints"):
        fetch_checkpoint(trial(b"nonsense"), None, never)


def test_paused_trials_make_room_for_it(tmp_path: Path, content: bytes) -> None:
    folder = CheckpointFolder(tmp_path / "here", max_bytes=150)
    save(folder, marker(7, study_id=STUDY))
    fetch_checkpoint(trial(content), folder, writes(content))
    assert numbers(folder) == [3]


def test_what_was_fetched_outlives_a_power_cut(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "here").mkdir()
    with PowerCut.of(tmp_path / "here") as cut:
        fetch_checkpoint(trial(content), CheckpointFolder(tmp_path / "here"), writes(content))
        left = CheckpointFolder(cut.least(tmp_path / "after"))
    assert [(one.number, one.step) for one in left.held(VERSIONS)] == [(3, 1)]
    [state] = left.root.rglob(STATE)
    assert state.read_bytes() == bytes(100)
