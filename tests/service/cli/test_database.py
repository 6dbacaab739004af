"""`spezia db`, on databases in files."""

import hashlib
import json
import re
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from shutil import copyfile

import pytest
from sqlalchemy import text
from typer.testing import CliRunner, Result

from service.cli import database as commands
from service.settings import sqlite_url
from service.store import datasets
from service.store.sql.engine import DatabaseClock, open_engine
from service.store.sql.migrate import newest
from service.store.store import Store
from spezia.common.home_lock import hold
from tests.bucket import BUCKET, s3

Db = Callable[..., Result]


@pytest.fixture
def made(migrated_sqlite: Path, tmp_path: Path) -> Path:
    """The home of an embedded database with the newest schema."""
    (tmp_path / "home").mkdir()
    copyfile(migrated_sqlite, tmp_path / "home" / "spezia.db")
    return tmp_path / "home"


@pytest.fixture
def db(tmp_path: Path) -> Db:
    def invoke(*arguments: object) -> Result:
        environment = {"SPEZIA_HOME": str(tmp_path / "home"), "COLUMNS": "120"}
        return CliRunner().invoke(commands.app, [str(argument) for argument in arguments], env=environment)

    return invoke


def stamp(home: Path, revision: str) -> None:
    engine = open_engine(f"sqlite:///{home / 'spezia.db'}")
    with engine.begin() as connection:
        connection.execute(text("UPDATE spezia_alembic_version SET version_num = :revision"), {"revision": revision})
    engine.dispose()


def test_a_database_is_made_checked_backed_up_and_restored_elsewhere(db: Db, tmp_path: Path) -> None:
    assert json.loads(db("upgrade", "--json").stdout) == {"before": None, "now": newest()}
    assert "has the newest schema already" in db("upgrade").stdout
    assert db("check").exit_code == 0
    assert db("backup", tmp_path / "backup").exit_code == 0
    assert {path.name for path in (tmp_path / "backup").iterdir()} == {"backup.json", "spezia.db"}
    elsewhere = f"sqlite:///{tmp_path / 'elsewhere' / 'spezia.db'}"
    restored = db("restore", tmp_path / "backup", "--database", elsewhere, "--json")
    assert json.loads(restored.stdout) == {"n_rows": 2, "n_files": 0}
    copied = db("copy", f"sqlite:///{tmp_path / 'copy.db'}")
    assert re.search(r"copy\.db: 2 rows, compared one by one; 0 files", copied.stdout)


@pytest.mark.parametrize("arguments", [["check"], ["backup", "b"], ["copy", "sqlite:///copy.db"]])
def test_what_only_reads_makes_no_database(
    db: Db, arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    refused = db(*arguments)
    assert refused.exit_code == 1
    assert "there is no such database" in refused.stderr
    assert not (tmp_path / "home" / "spezia.db").exists()
    assert not (tmp_path / "copy.db").exists()


def test_a_database_is_not_copied_to_itself(db: Db, made: Path) -> None:
    refused = db("copy", f"sqlite:///{made / 'spezia.db'}")
    assert refused.exit_code == 1
    assert "is the database to copy from" in refused.stderr


@pytest.mark.parametrize("arguments", [["restore", "b"], ["copy", "sqlite:///copy.db"]])
@pytest.mark.parametrize("place", ["home", "folder of the database"])
def test_a_live_service_is_not_disturbed(
    db: Db, arguments: list[str], place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    database = f"sqlite:///{tmp_path / 'other' / 'spezia.db'}"
    with hold(tmp_path / ("home" if place == "home" else "other")):
        refused = db(*arguments, "--database", database)
    assert refused.exit_code == 1
    assert "a service already runs" in refused.stderr


@pytest.mark.parametrize("arguments", [["upgrade"], ["backup", "b"], ["copy", "sqlite:///copy.db"]])
def test_a_database_of_a_newer_version_is_refused_with_what_helps(
    db: Db, made: Path, arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    stamp(made, "9999")
    refused = db(*arguments)
    assert refused.exit_code == 1
    assert "a newer version of Spezia has written this database (migration 9999" in refused.stderr
    assert "pip install --upgrade spezia" in refused.stderr
    assert "spezia db restore" in refused.stderr


def test_a_database_of_an_older_version_is_refused_with_the_command_that_helps(
    db: Db, made: Path, tmp_path: Path
) -> None:
    stamp(made, "0016")
    assert "then `spezia db upgrade`" in db("backup", tmp_path / "b").stderr
    checked = db("check")
    assert checked.exit_code == 1
    assert "spezia db upgrade" in checked.stdout


@pytest.mark.parametrize("damage", ["none of SQLite", "overwritten behind its header", "cut"])
def test_a_damaged_database_is_one_clear_line_that_says_how_to_go_on(
    db: Db, made: Path, tmp_path: Path, damage: str
) -> None:
    assert db("backup", tmp_path / "backup").exit_code == 0
    file = made / "spezia.db"
    content = file.read_bytes()
    if damage == "none of SQLite":
        content = b"id,text\n" * 1000
    elif damage == "overwritten behind its header":
        content = content[:100] + b"\xff" * (len(content) - 100)
    else:
        content = content[: len(content) // 2]
    file.write_bytes(content)
    spoilt = tmp_path / "spoilt"
    for arguments in (
        ["check"], ["backup", spoilt], ["copy", f"sqlite:///{spoilt}.db"], ["upgrade"], ["prune", "--older-than", "1d"],
        ["restore", tmp_path / "backup", "--force"],
    ):  # fmt: skip
        refused = db(*arguments)
        assert (refused.exit_code, refused.exception.__class__) == (1, SystemExit), arguments
        told = " ".join(refused.output.split())
        assert "move it away, then `spezia db restore FOLDER` brings a backup back" in told, arguments
    for each in made.glob("spezia.db*"):
        each.unlink()
    assert db("restore", tmp_path / "backup").exit_code == 0
    assert db("check").exit_code == 0


@pytest.mark.parametrize("place", ["gs://bucket/prefix", "http://host/", "S3://bucket"])
def test_files_go_to_no_place_that_is_neither_a_folder_nor_a_bucket(
    db: Db, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    refused = db("copy", f"sqlite:///{tmp_path / 'copy.db'}", "--files-to", place)
    assert refused.stderr == f"spezia: {place}: files are kept in a folder, or in a bucket s3://BUCKET/PREFIX\n"
    assert not any((tmp_path / "here").iterdir())


@pytest.mark.parametrize("url", ["postgresql://user:secret@host:port/name", "postgresql://host:99999999999x/name", "x"])
def test_what_is_no_url_is_said_without_being_shown(db: Db, url: str) -> None:
    refused = db("check", "--database", url)
    named = "spezia: the database is named by no URL; write sqlite:///FILE or postgresql://…\n"
    assert (refused.exit_code, refused.stderr) == (1, named)


def test_a_database_that_does_not_answer_is_one_clear_line_without_the_password(db: Db) -> None:
    refused = db("upgrade", "--database", "postgresql://me:hunter2@127.0.0.1:9/none")
    assert refused.exit_code == 1
    [line] = refused.stderr.splitlines()
    assert line.startswith("spezia: the database does not answer")
    assert "hunter2" not in line


@pytest.mark.slow
def test_files_are_copied_to_a_bucket_checked_there_and_backed_up_from_it(
    db: Db, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = b"text,label\na,b\n"
    sha256 = hashlib.sha256(content).hexdigest()
    (made / "datasets").mkdir()
    (made / "datasets" / sha256).write_bytes(content)
    with closing(Store(open_engine(sqlite_url(made / "spezia.db")), DatabaseClock())) as store, store.writing() as tx:
        datasets.add(tx, sha256, "csv", len(content))
    copied = f"sqlite:///{tmp_path / 'copy.db'}"
    with s3() as running:
        for name, value in running.environment.items():
            monkeypatch.setenv(name, value)
        url = f"s3://{BUCKET}/copied"
        assert json.loads(db("copy", copied, "--files-to", url, "--json").stdout)["n_files"] == 1
        assert f"copied/datasets/{sha256}/{sha256}" in running.object_keys()
        monkeypatch.setenv("SPEZIA_FILES_URL", url)
        checked = db("check", "--database", copied)
        assert checked.exit_code == 0, checked.output
        assert db("backup", tmp_path / "backup", "--database", copied).exit_code == 0
    assert (tmp_path / "backup" / "datasets" / sha256).read_bytes() == content
