"""Folders for passing models: gone after use, and swept when whoever used them was killed."""

import fcntl
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from trainer.supervisor.scratch import PREFIX, scratch_folder, sweep_scratch

USER = """
import sys, threading
from trainer.supervisor.scratch import scratch_folder
with scratch_folder() as folder:
    (folder / "model").write_bytes(b"weights")
    print(folder, flush=True)
    threading.Event().wait()
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_folder_is_empty_and_gone_after_use(temporary: Path) -> None:
    with scratch_folder() as folder:
        assert folder.parent == temporary
        assert list(folder.iterdir()) == []
        (folder / "model").mkdir()
        sweep_scratch()
        assert (folder / "model").exists()
    assert list(temporary.iterdir()) == []


def test_what_a_killed_process_left_is_swept_and_not_before(temporary: Path) -> None:
    environment = os.environ | {"TMPDIR": str(temporary)}
    with subprocess.Popen([sys.executable, "-c", USER], stdout=subprocess.PIPE, text=True, env=environment) as user:
        assert user.stdout is not None
        folder = Path(user.stdout.readline().strip())
        sweep_scratch()
        assert (folder / "model").exists()
        user.kill()
    assert folder.parent == temporary
    assert (folder / "model").exists()
    sweep_scratch()
    assert list(temporary.iterdir()) == []


def test_nothing_else_is_swept(temporary: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "kept").touch()
    (temporary / f"{PREFIX}link").symlink_to(elsewhere)
    (temporary / f"{PREFIX}file").touch()
    (temporary / "spezia-other").mkdir()
    sweep_scratch()
    assert sorted(path.name for path in temporary.iterdir()) == ["spezia-other", f"{PREFIX}file", f"{PREFIX}link"]
    assert (elsewhere / "kept").exists()


def test_a_folder_of_another_user_is_left_alone(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (temporary / f"{PREFIX}theirs").mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    sweep_scratch()
    assert (temporary / f"{PREFIX}theirs").exists()


def test_a_folder_swept_before_it_was_locked_is_made_again(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    swept: list[Path] = []
    really_lock = fcntl.flock

    def sweep_first(lock: int, kind: int) -> None:
        if not swept:
            swept.extend(temporary.iterdir())
            sweep_scratch()
        really_lock(lock, kind)

    monkeypatch.setattr(fcntl, "flock", sweep_first)
    with scratch_folder() as folder:
        assert len(swept) == 1
        assert not swept[0].exists()
        assert folder.exists()
    assert list(temporary.iterdir()) == []
