"""F33, F39 and F43: disks that are full or read-only, and a process that may open nothing more."""

import contextlib
import errno
import os
import resource
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from service.errors import Unavailable
from service.lifecycle.trials.trial_log import append_log, read_log
from service.store.sql import sqlite
from service.store.sql.engine import open_engine
from service.store.sql.migrate import migrate
from spezia.client import Client
from spezia.contract.study_spec import StudySpec
from tests.faults import actors
from tests.faults.invariants import violations
from tests.faults.processes import eventually, service_of
from tests.faults.stories import Story
from tests.faults.world import World
from tests.service.hand_worker import spec
from trainer.trial import checkpoint_folder

PAGE = 4096


class SmallDisk:
    """A file system of four MiB."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._filler = path / "filler"

    def fill(self, free_bytes: int = 0) -> None:
        """Leave ``free_bytes``, a multiple of 4,096."""
        with self._filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(PAGE))
        os.truncate(self._filler, self._filler.stat().st_size // PAGE * PAGE - free_bytes)

    def clean(self) -> None:
        self._filler.unlink()

    def remount(self, options: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{options}", str(self.path)], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    path = tmp_path / "disk"
    path.mkdir()
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(path)], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"mounting is forbidden here: {error}")
    yield SmallDisk(path)
    subprocess.run(["umount", str(path)], check=True)


@pytest.fixture
def story(disk: SmallDisk, monkeypatch: pytest.MonkeyPatch) -> Iterator[Story]:
    """A study whose database and artifacts lie on the small disk, which checkpoints find full, too."""
    monkeypatch.setattr(sqlite, "CHECKPOINT_PAGES", 20)
    engine = open_engine(f"sqlite:///{disk.path / 'spezia.db'}")
    migrate(engine)
    yield Story(World(engine, disk.path / "artifacts"), n_trials=60)
    engine.dispose()


def test_f33_whichever_page_does_not_fit_any_more_nothing_is_lost(story: Story, disk: SmallDisk) -> None:
    held = story.begin()
    store, text = story.world.services[0].store, "x" * 10 * PAGE
    kept, n_refused = "", 0
    for free_pages in range(20):
        disk.fill(free_bytes=free_pages * PAGE)
        try:
            append_log(store, held.lease_id, held.token, text)
            kept += text
        except Unavailable:
            n_refused += 1
        assert violations(story.world.engine) == []
        disk.clean()
        assert read_log(store, story.name, 0, 0)[0] == kept
    assert 0 < n_refused < 20
    assert story.tell(held).replayed is False
    story.holds()


def test_f33_a_model_that_does_not_fit_can_come_again(story: Story, disk: SmallDisk) -> None:
    held = story.begin()
    disk.fill()
    with pytest.raises(Unavailable, match="No space left on device"):
        actors.uploading(held, "model.bin").call(story.world.services[0])
    disk.clean()
    assert story.ask(actors.uploading(held, "model.bin")) == "stored"
    story.tell(held)
    story.holds()


def test_f33_a_read_only_disk_is_an_error_that_passes(story: Story, disk: SmallDisk) -> None:
    held = story.begin()
    story.world.engine.dispose()
    disk.remount("ro")
    with pytest.raises(Unavailable, match=r"readonly|read-only|unable to open"):
        actors.reporting(held, 2, 0.4, final=True).call(story.world.services[0])
    story.world.engine.dispose()
    disk.remount("rw")
    assert story.report(held, 2, 0.4, final=True).directive == "continue"
    story.tell(held)
    story.holds()


def test_f39_a_checkpoint_that_does_not_fit_leaves_the_one_before(disk: SmallDisk) -> None:
    folder = disk.path / "attempt"
    save(folder, 1, size_bytes=PAGE)
    disk.fill(free_bytes=4 * PAGE)
    with pytest.raises(OSError, match="No space left") as full:
        save(folder, 2, size_bytes=64 * PAGE)
    assert full.value.errno == errno.ENOSPC
    found = checkpoint_folder.newest(folder)
    assert found is not None
    assert found[1].step == 1


def save(folder: Path, step: int, size_bytes: int) -> None:
    with checkpoint_folder.begun(folder) as partial:
        (partial / checkpoint_folder.STATE).write_bytes(bytes(size_bytes))
        marker = checkpoint_folder.Marker(
            study_id="0" * 32,
            number=0,
            attempt=1,
            step=step,
            optimizer_steps=step,
            versions={},
            size_bytes=size_bytes,
            written_at=time.time(),
        )
        checkpoint_folder.commit(partial, marker)


@pytest.mark.slow
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_f43_a_service_that_may_open_nothing_more_recovers(tmp_path: Path, database_url: str) -> None:
    with service_of(tmp_path / "home", database_url) as service, contextlib.ExitStack() as greedy:
        service.start()
        assert service.process is not None
        assert service.process.pid is not None
        n_open = len(list(Path(f"/proc/{service.process.pid}/fd").iterdir()))
        resource.prlimit(service.process.pid, resource.RLIMIT_NOFILE, (n_open + 8, n_open + 8))
        for _ in range(30):
            greedy.enter_context(socket.create_connection(("127.0.0.1", service.port)))
        with pytest.raises(httpx2.TimeoutException):
            httpx2.get(f"{service.url}/readyz", timeout=0.5)
        greedy.close()
        eventually(lambda: is_ready(service.url))
        with Client(service.url) as client:
            assert client.post_study(StudySpec.model_validate(spec())).state == "running"


def is_ready(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/readyz", timeout=1).is_success
    except httpx2.TransportError:
        return False
