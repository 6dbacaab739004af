"""F34: the power is cut. On the disk is what was synced, and any part of what was being written."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
from sqlalchemy import Engine, event

from service.failpoints import armed
from service.files.folder_files import FolderFiles
from service.lifecycle.datasets.upload_dataset import upload_dataset
from service.lifecycle.upload import Upload
from service.store.sql import sqlite
from service.store.sql.engine import open_engine
from tests.faults.actors import MODEL, uploading
from tests.faults.invariants import violations
from tests.faults.snapshot import Snapshot
from tests.faults.stories import Story
from tests.faults.world import World
from tests.power_cut import PowerCut

SECTOR = 512
LOG_HEADER = 32
only_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture(scope="module", autouse=True)
def no_waiting_for_disks() -> None:
    """Here one waits: what has been synced is the question."""


@dataclass(frozen=True)
class Disk:
    """SQLite's files: the database, and the log or journal beside it. Its shared memory does not outlive the power."""

    database: bytes
    log: bytes = b""
    journal: bytes = b""

    @classmethod
    def of(cls, engine: Engine) -> "Disk":
        path = str(engine.url.database)
        files = [Path(path + end) for end in ("", "-wal", "-journal")]
        return cls(*(file.read_bytes() if file.exists() else b"" for file in files))

    def started_again(self, folder: Path) -> Snapshot:
        """What SQLite makes of these files, which must be whole."""
        path = folder / "after.db"
        for end, content in (("", self.database), ("-wal", self.log), ("-journal", self.journal)):
            Path(f"{path}{end}").write_bytes(content)
        engine = open_engine(f"sqlite:///{path}")
        assert violations(engine) == []
        with engine.connect() as connection:
            snapshot = Snapshot.read(connection)
        engine.dispose()
        return snapshot


def n_told(snapshot: Snapshot) -> int:
    (trials,) = snapshot.trials.values()
    return sum(trial.state == "COMPLETE" for trial in trials)


@only_sqlite
@pytest.mark.parametrize("wal", [True, False])
def test_f34_what_was_acknowledged_survives_a_power_cut(
    database_url: str, tmp_path: Path, wal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "wal_is_safe", lambda _version: wal)
    engine = open_engine(database_url)
    story = Story(World(engine, tmp_path / "artifacts"), n_trials=4)
    story.prepare()
    before: list[Disk] = []
    for number in range(3):
        held = story.take()
        story.report(held, 1, 0.5, final=True)
        with armed("tell.before_commit", lambda: before.append(Disk.of(engine))):
            story.tell(held)
        after = Disk.of(engine)
        assert (len(after.log) > 0, len(after.journal) > 0) == (wal, not wal)
        assert n_told(before[-1].started_again(tmp_path)) == number
        assert n_told(after.started_again(tmp_path)) == number + 1
    engine.dispose()


@only_sqlite
@pytest.mark.skipif(not sqlite.wal_is_safe(sqlite.library.sqlite_version_info), reason="this SQLite has the WAL bug")
def test_f34_a_power_cut_leaves_a_commit_whole_or_not_there(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "CHECKPOINT_PAGES", 60)
    engine = open_engine(database_url)
    disks: list[Disk] = []
    story = Story(World(engine, tmp_path / "artifacts"), n_trials=6)
    story.prepare()
    event.listen(engine, "commit", lambda _connection: disks.append(Disk.of(engine)))
    story.finish()
    disks = list(dict.fromkeys(disks))  # most only read
    draw = random.Random(0)
    kinds = set()
    whole = disks[0].started_again(tmp_path)
    for before, after in pairwise(disks):
        was, whole = whole, after.started_again(tmp_path)
        for kind, disk, is_committed in cuts(before, after, draw):
            kinds.add(kind)
            assert disk.started_again(tmp_path) in ([whole] if is_committed else [was, whole]), kind
    assert kinds == {"commit", "first commit of a new log", "checkpoint"}
    assert n_told(whole) == 6
    assert Disk(disks[0].database).started_again(tmp_path) != disks[0].started_again(tmp_path)  # the log does matter
    engine.dispose()


@only_sqlite
def test_f34_files_that_the_service_has_taken_survive_a_power_cut(database_url: str, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    engine = open_engine(database_url)
    story = Story(World(engine, disk / "artifacts"))
    held = story.begin()
    content = b"text,label\na,b\n"
    with PowerCut.of(disk) as power_cut:
        story.ask(uploading(held, "model.bin"))
        upload = Upload(disk / "datasets", len(content), "SPEZIA_MAX_DATASET_BYTES")
        upload.write(content)
        dataset, _ = upload_dataset(story.world.services[0].store, FolderFiles(disk), upload)
        upload.discard()
        left = power_cut.least(tmp_path / "left")
    assert (left / "datasets" / dataset.sha256).read_bytes() == content
    assert (left / "artifacts" / held.lease_id / "model.bin").read_bytes() == MODEL
    engine.dispose()


def cuts(before: Disk, after: Disk, draw: random.Random) -> Iterator[tuple[str, Disk, bool]]:
    """Disks that a cut during one commit may leave, and whether it was synced by then.

    SQLite syncs in this order: the header of a log that begins anew; the log, which is the commit; the pages that a
    checkpoint has copied into the database, before the log begins anew.
    """
    is_new = before.log[:LOG_HEADER] != after.log[:LOG_HEADER]
    for _ in range(2):
        log = after.log[:LOG_HEADER] + torn(before.log[LOG_HEADER:], after.log[LOG_HEADER:], draw)
        yield "first commit of a new log" if is_new else "commit", Disk(before.database, log), False
        if before.database != after.database:
            yield "checkpoint", Disk(torn(before.database, after.database, draw), after.log), True


def torn(old: bytes, new: bytes, draw: random.Random) -> bytes:
    """A file of which each sector has been written or not; what was never there is zeros."""
    share, old = draw.random(), old.ljust(len(new), b"\0")
    starts = range(0, len(old), SECTOR)
    return b"".join((new if draw.random() < share else old)[start : start + SECTOR] for start in starts)
