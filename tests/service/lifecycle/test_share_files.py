"""Services on one PostgreSQL know whether they share the folder of uploaded files."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import pytest
from sqlalchemy import Engine

from service.app import create_app
from service.files.bucket_files import BucketFiles
from service.files.folder_files import FolderFiles
from service.lifecycle.share_files import share_files
from service.settings import Settings
from service.store import files_folder
from service.store.store import Store
from tests.conftest import FakeClock

on_postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


@on_postgresql
def test_the_folder_of_the_first_one_is_that_of_all(engine: Engine, clock: FakeClock, tmp_path: Path) -> None:
    one, other = Store(engine, clock), Store(engine, clock)
    share_files(one, FolderFiles(tmp_path / "shared"))
    share_files(other, FolderFiles(tmp_path / "shared"))
    (tmp_path / "mounted").symlink_to(tmp_path / "shared")
    share_files(other, FolderFiles(tmp_path / "mounted"))
    with pytest.raises(ValueError, match=r"lie in another place than .*/own, first .*:.*/shared: let SPEZIA_FILES_DIR"):
        share_files(other, FolderFiles(tmp_path / "own"))
    assert not (tmp_path / "own").exists()


@on_postgresql
def test_what_the_message_says_helps(engine: Engine, clock: FakeClock, tmp_path: Path) -> None:
    store = Store(engine, clock)
    share_files(store, FolderFiles(tmp_path / "before"))
    (tmp_path / "after").mkdir()
    with pytest.raises(ValueError, match="make the empty file") as raised:
        share_files(store, FolderFiles(tmp_path / "after"))
    Path(str(raised.value).partition("the empty file ")[2].removesuffix(" in it")).touch()
    share_files(store, FolderFiles(tmp_path / "after"))


@on_postgresql
def test_of_services_that_start_at_once_one_marks_its_folder(engine: Engine, clock: FakeClock, tmp_path: Path) -> None:
    def start(number: int) -> bool:
        try:
            share_files(Store(engine, clock), FolderFiles(tmp_path / str(number)))
        except ValueError:
            return False
        return True

    for _ in range(10):
        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(start, range(4))).count(True) == 1
        with Store(engine, clock).writing() as tx:
            files_folder.forget(tx)
        for folder in tmp_path.iterdir():
            for marker in folder.iterdir():
                marker.unlink()


@on_postgresql
def test_a_service_with_a_folder_of_its_own_does_not_start(database_url: str, clock: FakeClock, tmp_path: Path) -> None:
    create_app(Settings(home=tmp_path / "one", database_url=database_url), clock).state.parts.store.close()
    with pytest.raises(ValueError, match="SPEZIA_FILES_DIR"):
        create_app(Settings(home=tmp_path / "two", database_url=database_url), clock)
    shared = Settings(home=tmp_path / "two", database_url=database_url, files_dir=tmp_path / "one")
    create_app(shared, clock).state.parts.store.close()


@on_postgresql
def test_services_share_a_bucket_or_do_not_start(engine: Engine, clock: FakeClock, tmp_path: Path) -> None:
    def bucket(prefix: str) -> BucketFiles:
        return BucketFiles(fsspec.filesystem("memory"), f"shared/{tmp_path.name}/{prefix}", tmp_path / "incoming")

    share_files(Store(engine, clock), bucket("one"))
    share_files(Store(engine, clock), bucket("one"))
    for elsewhere in (bucket("other"), FolderFiles(tmp_path / "own")):
        with pytest.raises(ValueError, match=r"first .*:s3://shared/.*/one: let SPEZIA_FILES_DIR or SPEZIA_FILES_URL"):
            share_files(Store(engine, clock), elsewhere)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_on_sqlite_there_is_nothing_to_compare(engine: Engine, clock: FakeClock, tmp_path: Path) -> None:
    for name in ("one", "two"):
        share_files(Store(engine, clock), FolderFiles(tmp_path / name))
    assert list(tmp_path.glob("one*")) == []
