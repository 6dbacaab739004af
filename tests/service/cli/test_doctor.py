"""What `spezia doctor` finds on the machine of a service."""

import shutil
import socket
from contextlib import closing
from pathlib import Path

import fsspec
import pytest

from service.cli import doctor as looked_at
from service.cli.doctor import doctor
from service.errors import DatabaseDamaged
from service.files import bucket_files
from service.files.bucket_files import BucketFiles
from service.lifecycle.keys.create_key import create_key
from service.store.sql.engine import DatabaseClock, open_engine
from service.store.sql.migrate import migrate
from service.store.store import Store
from spezia.common.findings import Finding
from spezia.contract.key import Scope


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    monkeypatch.setenv("SPEZIA_HOME", str(folder))
    monkeypatch.setenv("SPEZIA_PORT", "0")
    monkeypatch.delenv("SPEZIA_DATABASE_URL", raising=False)
    return folder


def found(check: str) -> list[Finding]:
    return [finding for finding in doctor() if finding.check == check]


def test_before_the_first_start_all_is_well_and_nothing_is_made(home: Path) -> None:
    assert {finding.state for finding in doctor()} == {"well", "noted"}
    assert [one.message.endswith("is not there yet") for one in found("database")] == [True]
    assert not home.exists()


def test_a_database_answers_with_its_keys(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPEZIA_DATABASE_URL", database_url)
    engine = open_engine(database_url)
    migrate(engine)
    with closing(Store(engine, DatabaseClock())) as store:
        assert [one.message for one in found("keys")] == ["none, and only this machine reaches the service"]
        monkeypatch.setenv("SPEZIA_HOST", "0.0.0.0")
        assert [one.state for one in found("keys")] == ["wrong"]
        create_key(store, "alice", [Scope.ADMIN], None)
        assert [one.message for one in found("keys")] == ["1 good"]
    assert [one.state for one in found("database")] == ["well"]


def test_a_database_of_another_schema_is_wrong(home: Path) -> None:
    home.mkdir()
    (home / "spezia.db").touch()
    assert [(one.state, "another schema" in one.message) for one in found("database")] == [("wrong", True)]


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("nonsense", "by no URL"),
        ("mysql://a:secret@b/c", "neither sqlite"),
        ("postgresql://a:secret@127.0.0.1:9/c?connect_timeout=1", "127.0.0.1"),
    ],
)
def test_a_database_that_cannot_be_used_is_wrong_and_its_password_is_not_told(
    url: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPEZIA_DATABASE_URL", url)
    [database] = found("database")
    assert (database.state, reason in database.message, "secret" in str(database)) == ("wrong", True, False)


def test_a_database_that_is_damaged_is_wrong_with_the_way_back(home: Path) -> None:
    home.mkdir(exist_ok=True)
    (home / "spezia.db").write_bytes(b"none of SQLite" * 1000)
    assert [(one.state, one.remedy) for one in found("database")] == [("wrong", DatabaseDamaged.remedy)]


def test_the_driver_of_postgresql_may_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPEZIA_DATABASE_URL", "postgresql://b/c")
    monkeypatch.setattr(looked_at, "find_spec", lambda name: None)
    assert [one.remedy for one in found("database")] == ["pip install 'spezia[postgres]'"]


def test_a_port_that_another_program_has_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setenv("SPEZIA_PORT", str(taken.getsockname()[1]))
        assert [one.state for one in found("port")] == ["wrong"]


def test_a_folder_that_is_full_or_none_is_wrong(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home.write_text("a file")
    assert [one.state for one in found("folder")] == ["wrong"]
    home.unlink()
    usage = shutil.disk_usage(home.parent)._replace(free=1 << 30)
    monkeypatch.setattr(looked_at.shutil, "disk_usage", lambda path: usage)
    assert [(one.state, "1.0 GiB free" in one.message) for one in found("folder")] == [("wrong", True)]


def test_a_setting_that_cannot_be_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPEZIA_PORT", "many")
    [setting] = doctor()
    assert (setting.state, setting.message.startswith("SPEZIA_PORT: ")) == ("wrong", True)


def test_a_bucket_that_cannot_be_used_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPEZIA_FILES_URL", "s3://files/spezia")
    monkeypatch.setattr(bucket_files, "find_spec", lambda _name: None)
    [finding] = found("bucket")
    assert finding.state == "wrong"
    assert "SPEZIA_FILES_URL needs s3fs, which is not installed" in finding.message
    assert finding.remedy == "pip install 'spezia[s3]'"


def test_a_bucket_is_tried(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SPEZIA_FILES_URL", "s3://files/spezia")
    tried = BucketFiles(fsspec.filesystem("memory"), "files/spezia", tmp_path)
    monkeypatch.setattr(looked_at, "open_files", lambda _settings: tried)
    assert [(one.state, one.message) for one in found("bucket")] == [
        ("well", "s3://files/spezia can be written, listed and read")
    ]
