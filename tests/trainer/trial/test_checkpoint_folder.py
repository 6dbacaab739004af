"""Which checkpoints stay when there is no room for all, and what several workers may do to one folder."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from trainer.trial import checkpoint_folder
from trainer.trial.checkpoint_folder import MARKER, STATE, CheckpointFolder, Marker

STUDY = "a" * 32
ROOT = Path(__file__).parents[3]
VERSIONS = {"torch": "2"}


def marker(number: int, loss: float = 0.5, **changes: Any) -> Marker:
    fields = {
        "study_id": STUDY,
        "number": number,
        "attempt": 1,
        "step": 1,
        "optimizer_steps": 10,
        "loss": loss,
        "is_paused": True,
        "versions": VERSIONS,
        "size_bytes": 100,
        "written_at": float(number),
    }
    return Marker.model_validate(fields | changes)


def save(folder: CheckpointFolder, one: Marker) -> Path:
    with checkpoint_folder.begun(folder.of_attempt(one.study_id, one.number, one.attempt)) as partial:
        (partial / STATE).write_bytes(bytes(one.size_bytes))
        return checkpoint_folder.commit(partial, one)


def numbers(folder: CheckpointFolder) -> list[int]:
    return [held.number for held in folder.held(VERSIONS)]


def test_the_least_promising_paused_trials_make_room(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path, max_bytes=400)
    for number, loss in enumerate([0.3, 0.9, 0.5, 0.7]):
        assert folder.make_room(marker(number, loss))
        save(folder, marker(number, loss))
    assert folder.make_room(marker(4, 0.4, size_bytes=200))
    assert numbers(folder) == [0, 2]  # the best one first, which is what a worker offers first


def test_the_least_promising_one_of_all_is_not_saved_itself(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path, max_bytes=200)
    for number in range(2):
        save(folder, marker(number, 0.3))
    assert not folder.make_room(marker(2, 0.8))
    assert not folder.make_room(marker(2, 0.1, size_bytes=300))
    assert numbers(folder) == [1, 0]


def test_values_are_compared_within_a_study_and_a_step(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path, max_bytes=500)
    for one in (
        marker(0, 0.30),
        marker(1, 0.31),  # the worse of two
        marker(2, 0.60, study_id="b" * 32),  # the best of its study
        marker(3, 0.40, step=4, optimizer_steps=40),
        marker(4, 0.45, step=4, optimizer_steps=40),
    ):
        save(folder, one)
    assert folder.make_room(marker(5, 0.2, step=16, size_bytes=200))
    assert sorted(numbers(folder)) == [0, 2, 3]


def test_interrupted_trials_make_no_room_and_count(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path, max_bytes=200)
    save(folder, marker(0, 0.9, is_paused=False))
    save(folder, marker(1, 0.2))
    assert folder.make_room(marker(2, 0.1))
    assert not folder.make_room(marker(3, 0.1, size_bytes=200))
    assert numbers(folder) == [0]


def test_paused_trials_go_for_an_interrupted_one_even_where_that_is_not_enough(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path, max_bytes=200)
    save(folder, marker(0, is_paused=False))
    save(folder, marker(1))
    assert not folder.make_room(marker(2, is_paused=False, size_bytes=200))  # and is written, whatever the answer
    assert numbers(folder) == [0]


def test_what_is_left_of_a_trial_that_pauses_unsaved_makes_room(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path, max_bytes=200)
    save(folder, marker(0, 0.9, is_paused=False))  # while it ran
    save(folder, marker(1, 0.2, is_paused=False))
    assert not folder.make_room(marker(2, 0.1))
    folder.note_pause(STUDY, 0)
    assert folder.make_room(marker(2, 0.1))
    assert numbers(folder) == [1]


def test_what_a_checkpoint_replaces_needs_no_room(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path, max_bytes=200)
    save(folder, marker(0, 0.1))
    save(folder, marker(1, 0.2))
    assert folder.make_room(marker(1, 0.2, attempt=2, step=4, optimizer_steps=40))
    assert numbers(folder) == [0, 1]


@pytest.mark.parametrize(("free", "fits"), [(10**6, True), (100, False)])
def test_half_of_the_free_disk_is_for_checkpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, fits: bool
) -> None:
    folder = CheckpointFolder(tmp_path / "not made yet")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9 - free, free))
    assert folder.make_room(marker(0)) == fits


def test_a_worker_that_has_lost_its_trial_deletes_nothing_of_a_later_attempt(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    later = save(folder, marker(0, attempt=2, step=4, optimizer_steps=40))
    save(folder, marker(0, attempt=1, step=1))
    (held,) = folder.held(VERSIONS)
    assert (held.attempt, held.step) == (2, 4)
    assert (later / STATE).exists()


def test_a_checkpoint_that_is_being_deleted_is_none_any_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = CheckpointFolder(tmp_path, max_bytes=100)
    path = save(folder, marker(0, 0.9))

    def cut_short(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "rmtree", cut_short)
    with pytest.raises(KeyboardInterrupt):
        folder.make_room(marker(1, 0.1))
    assert os.listdir(path) == [STATE]
    assert not (path / MARKER).exists()
    assert numbers(folder) == []


SAVE = """
import os, signal, sys
from pathlib import Path
from tests.trainer.trial.test_checkpoint_folder import marker, save
from trainer.trial import checkpoint_folder
from trainer.trial.checkpoint_folder import CheckpointFolder

left = int(sys.argv[2])

def deadly(call):
    def count(*args, **options):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*args, **options)
    return count

for name in ("write_durably", "sync", "rename_durably", "make_folder_durably"):
    setattr(checkpoint_folder, name, deadly(getattr(checkpoint_folder, name)))
checkpoint_folder.shutil.rmtree = deadly(checkpoint_folder.shutil.rmtree)
save(CheckpointFolder(Path(sys.argv[1])), marker(0, attempt=2, step=4, optimizer_steps=40))
"""
"""Replaces a checkpoint, and dies before the call of a number among those that touch the disk."""


@pytest.mark.slow
def test_a_process_killed_while_it_saves_leaves_a_whole_checkpoint(tmp_path: Path) -> None:
    steps = []
    for n_calls in range(1, 20):
        folder = CheckpointFolder(tmp_path / str(n_calls))
        save(folder, marker(0))
        command = [sys.executable, "-c", SAVE, str(folder.root), str(n_calls)]
        code = subprocess.run(command, cwd=ROOT, timeout=60).returncode
        (held,) = folder.held(VERSIONS)
        steps.append(held.step)
        save(folder, marker(0, attempt=3, step=8, optimizer_steps=80))  # what was left behind is in nobody's way
        assert [path.name for path in folder.root.glob("*/*/*/*")] == ["at-80"]
        if code == 0:
            break
        assert code == -signal.SIGKILL
    assert steps == sorted(steps)
    assert {1, 4} == set(steps)
    assert len(steps) >= 7
