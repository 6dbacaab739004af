"""A database and its files, backed up while they change, restored and copied; on both kinds of database."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import copyfile
from stat import S_IMODE

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, text

from service.files.folder_files import FolderFiles
from service.lifecycle.database import back_up as backing_up
from service.lifecycle.database.back_up import BadBackup, back_up, restore
from service.lifecycle.database.check_database import check_database
from service.lifecycle.database.copy_database import NotCopied, copy_database
from service.lifecycle.database.kept_files import kept_files
from service.settings import Settings, sqlite_url
from service.store.copy_rows import all_tables, first_difference, is_empty
from service.store.sql.connections import CHANNEL
from service.store.sql.engine import open_engine
from service.store.store import Store
from tests.conftest import FakeClock
from tests.service.hand_worker import HandWorker, spec
from tests.service.stories.test_pretrained import GOOD, tarred

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""For what is the same on both databases."""
on_postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


@pytest.fixture
def lived(http: TestClient, worker: HandWorker, settings: Settings) -> Store:
    """A store after a study with a kept model, uploads of data and of a model, and a trial that a worker holds."""
    assert http.post("/v1/studies", json=spec()).status_code == 201
    worker.prepare()
    held = worker.take()
    worker.report(held, 1, 0.5, final=True)
    worker.upload(held, "model.safetensors", b"weights" * 1000)
    worker.upload(held, "config.json", b"{}")
    assert worker.finish(held).status_code == 200
    worker.take()
    assert http.post("/v1/datasets", content=b"text,label\na,b\n").status_code == 201
    assert http.post("/v1/models", content=tarred(GOOD)).status_code == 201
    store: Store = http.app.state.parts.store
    return store


@contextmanager
def opened(url: str, clock: FakeClock) -> Iterator[Store]:
    engine = open_engine(url)
    yield Store(engine, clock)
    engine.dispose()


@pytest.fixture
def fresh(migrated_sqlite: Path, tmp_path: Path, clock: FakeClock) -> Iterator[Store]:
    """An empty database with the newest schema."""
    with opened(sqlite_url(copyfile(migrated_sqlite, tmp_path / "fresh.db")), clock) as store:
        yield store


def difference(one: Store, other: Store) -> str | None:
    with one.reading() as mine, other.reading() as theirs:
        return first_difference(mine.connection, theirs.connection)


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def kept(folder: Path) -> dict[str, bytes]:
    return {
        name: content
        for name, content in files_below(folder).items()
        if name.startswith(("artifacts", "datasets", "models"))
    }


def test_a_backup_that_is_restored_has_the_same_rows_and_files_and_no_lease(
    lived: Store, settings: Settings, fresh: Store, tmp_path: Path
) -> None:
    backup = back_up(lived, FolderFiles(settings.files), tmp_path / "backup")
    assert (backup.n_files, backup.missing) == (3 + len(GOOD), [])
    assert S_IMODE((tmp_path / "backup").stat().st_mode) == 0o700
    before = kept(settings.files)
    restored, copied = restore(tmp_path / "backup", fresh, FolderFiles(tmp_path / "files"), replaces=False)
    assert (restored, copied.n_files) == (backup, 3 + len(GOOD))
    assert kept(tmp_path / "files") == before
    with fresh.reading() as tx:
        assert tx.connection.execute(text("SELECT count(*) FROM lease")).scalar_one() == 0
        states = tx.connection.execute(text("SELECT state FROM trials ORDER BY number")).scalars().all()
    assert states == ["COMPLETE", "WAITING"]
    assert difference(lived, fresh) is not None, "the lease"
    assert all(one.state == "well" for one in check_database(fresh, FolderFiles(tmp_path / "files"), "it", 60))


@on_sqlite
def test_a_file_that_goes_with_its_study_has_the_database_backed_up_anew(
    http: TestClient, lived: Store, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = backing_up.copy_files
    deleted = []

    def delete_first(*given: object) -> object:
        if not deleted:
            http.post("/v1/studies/feedback/cancel")
            deleted.append(http.delete("/v1/studies/feedback").status_code)
        return whole(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(backing_up, "copy_files", delete_first)
    backup = back_up(lived, FolderFiles(settings.files), tmp_path / "backup")
    assert deleted == [204]
    assert (backup.n_files, backup.missing) == (1 + len(GOOD), [])


@on_sqlite
def test_a_file_that_was_lost_before_is_named_and_the_rest_can_be_restored(
    lived: Store, settings: Settings, fresh: Store, tmp_path: Path
) -> None:
    lost = next(file for file in kept_files(lived) if file.path.endswith("config.json"))
    (settings.files / lost.path).write_bytes(b"[]")
    backup = back_up(lived, FolderFiles(settings.files), tmp_path / "backup")
    assert (backup.n_files, backup.missing) == (2 + len(GOOD), [lost.path])
    with pytest.raises(NotCopied, match=r"1 files that the database names are missing or damaged .*config\.json"):
        restore(tmp_path / "backup", fresh, FolderFiles(tmp_path / "files"), replaces=False)


def damage_database(folder: Path) -> None:
    (folder / "spezia.db").write_bytes((folder / "spezia.db").read_bytes()[:-1] + b"x")


def damage_file(folder: Path) -> None:
    next(folder.glob("datasets/*")).write_bytes(b"text,label\na,c\n")


def cut_off(folder: Path) -> None:
    (folder / "backup.json").unlink()


def garble(folder: Path) -> None:
    (folder / "backup.json").write_text("{}")


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (damage_database, "missing or damaged: its hash"),
        (damage_file, "1 files that the database names are missing or damaged"),
        (cut_off, "interrupted"),
        (garble, "is not what `spezia db backup` has written"),
    ],
)
@on_sqlite
def test_a_damaged_backup_changes_nothing(
    lived: Store, settings: Settings, fresh: Store, tmp_path: Path, harm: Callable[[Path], None], message: str
) -> None:
    back_up(lived, FolderFiles(settings.files), tmp_path / "backup")
    harm(tmp_path / "backup")
    with pytest.raises(BadBackup, match=message):
        restore(tmp_path / "backup", fresh, FolderFiles(tmp_path / "files"), replaces=True)
    with fresh.reading() as tx:
        assert is_empty(tx.connection)
    assert not (tmp_path / "files").exists()


@on_postgresql
def test_nothing_is_restored_over_other_rows_unless_they_are_to_be_replaced(
    lived: Store, settings: Settings, http: TestClient, tmp_path: Path
) -> None:
    back_up(lived, FolderFiles(settings.files), tmp_path / "backup")
    assert http.post("/v1/studies", json=spec(name="later")).status_code == 201
    with pytest.raises(NotCopied, match="holds other rows already"):
        restore(tmp_path / "backup", lived, FolderFiles(settings.files), replaces=False)
    assert http.get("/v1/studies/later").status_code == 200
    restore(tmp_path / "backup", lived, FolderFiles(settings.files), replaces=True)
    assert http.get("/v1/studies/later").status_code == 404
    assert http.get("/v1/studies/feedback").json()["trials"]["waiting"] == 1


@on_sqlite
def test_a_backup_is_written_to_a_new_folder_only(lived: Store, settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years")
    with pytest.raises(FileExistsError):
        back_up(lived, FolderFiles(settings.files), tmp_path / "mine")
    assert files_below(tmp_path / "mine") == {"thesis.txt": b"years"}


@on_postgresql
def test_a_copy_is_equal_and_made_again_changes_nothing(
    lived: Store, settings: Settings, fresh: Store, tmp_path: Path
) -> None:
    copied = copy_database(lived, fresh, FolderFiles(settings.files), FolderFiles(tmp_path / "files"))
    assert (copied.n_rows["trials"], copied.n_files) == (2, 3 + len(GOOD))
    assert difference(lived, fresh) is None
    assert kept(tmp_path / "files") == kept(settings.files)
    assert copy_database(lived, fresh, FolderFiles(settings.files), FolderFiles(tmp_path / "files")).n_rows == {}
    with fresh.writing() as tx:
        tx.connection.execute(text("UPDATE trials SET number = 7 WHERE number = 1"))
    with pytest.raises(NotCopied, match="holds other rows already"):
        copy_database(lived, fresh, FolderFiles(settings.files), FolderFiles(tmp_path / "files"))


@on_sqlite
def test_a_model_that_a_worker_is_uploading_comes_along(
    http: TestClient, worker: HandWorker, settings: Settings, fresh: Store, tmp_path: Path
) -> None:
    assert http.post("/v1/studies", json=spec()).status_code == 201
    worker.prepare()
    held = worker.take()
    worker.upload(held, "model.safetensors", b"weights")
    source: Store = http.app.state.parts.store
    assert copy_database(source, fresh, FolderFiles(settings.files), FolderFiles(tmp_path / "files")).n_files == 0
    assert list(kept(tmp_path / "files").values()) == [b"weights"]


@on_postgresql
def test_nothing_is_copied_to_a_database_that_a_service_uses(
    engine: Engine, store: Store, fresh: Store, tmp_path: Path
) -> None:
    with engine.connect() as listening:
        listening.exec_driver_sql(f"LISTEN {CHANNEL}")
        with pytest.raises(NotCopied, match="a service runs on the target"):
            copy_database(fresh, store, FolderFiles(tmp_path), FolderFiles(tmp_path))
    copy_database(fresh, store, FolderFiles(tmp_path), FolderFiles(tmp_path))


def test_every_table_of_uploaded_files_is_known_to_backups() -> None:
    of_files = {table.name for table in all_tables() if {"sha256", "size_bytes"} <= set(table.c.keys())}
    can_be_made_again = {"sent_checkpoint"}
    assert of_files - can_be_made_again == {"artifact", "dataset"}, "let `kept_files` list the files of a new one too"


@on_sqlite
def test_a_check_says_what_is_wrong(lived: Store, settings: Settings) -> None:
    def wrong() -> str:
        return json.dumps(
            [one.model_dump() for one in check_database(lived, FolderFiles(settings.files), "it", 60) if one.remedy]
        )

    assert wrong() == "[]"
    next(settings.files.glob("artifacts/*/config.json")).unlink()
    assert "config.json" in wrong()
    with lived.writing() as tx:
        tx.connection.execute(text("UPDATE spezia_alembic_version SET version_num = '0016'"))
    assert "spezia db upgrade" in wrong()
    with lived.writing() as tx:
        tx.connection.execute(text("UPDATE spezia_alembic_version SET version_num = '9999'"))
    assert "a newer version of Spezia" in wrong()
