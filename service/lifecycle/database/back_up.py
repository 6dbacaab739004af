"""Back up a database with its files into a folder, while services run, and restore it from there."""

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from errno import EEXIST
from pathlib import Path
from shutil import copyfile

from pydantic import BaseModel, ValidationError

from service.files.files import Files
from service.files.folder_files import FolderFiles
from service.lifecycle.database.copy_database import Copied, copy_database, missing_in_words
from service.lifecycle.database.kept_files import copy_files, is_whole, kept_files
from service.lifecycle.leases.reap import void_leases
from service.settings import sqlite_url
from service.store import files_folder
from service.store.copy_rows import copy_rows
from service.store.sql.engine import DatabaseClock, open_engine
from service.store.sql.migrate import migrate, newest
from service.store.sql.sqlite import back_up as back_up_sqlite
from service.store.sql.sqlite import make_portable
from service.store.store import Store
from spezia.common.write_durably import make_folder_durably, rename_durably, sync, write_durably

DATABASE = "spezia.db"
"""Name of the database in a backup, which is SQLite's whatever it was made of."""
MANIFEST = "backup.json"
"""Name of the file that says what is in a backup; it is written last, so that a backup with one is whole."""

TRIES = 5
"""How often a database is copied anew because files that it names were removed before they were copied."""


class Backup(BaseModel):
    """What a backup says of itself."""

    format: int = 1
    made_at: datetime
    migration: str
    """Last migration of the database."""
    database_sha256: str
    n_files: int
    size_bytes: int
    """Of the files together."""
    missing: list[str]
    """Files that the database names and that were not there, or damaged, when the backup was made."""


class BadBackup(ValueError):
    """A folder holds no backup that could be restored; the message says why."""


def back_up(store: Store, source: Files, folder: Path) -> Backup:
    """Write a backup to a folder that is empty or not there; services go on meanwhile.

    The database is copied as it is at one moment, and then the files that it names at that moment. A file that was
    removed in between, with its study, has the database copied anew.

    Raises:
        FileExistsError: The folder is not empty.
        Unavailable: The database does not answer.
    """
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(EEXIST, "it is not empty; name a new folder", str(folder))
    make_folder_durably(folder)
    folder.chmod(0o700)  # the database has the secrets of webhooks
    for _ in range(TRIES):
        made_at = _copy_database(store, folder / DATABASE)
        with _opened(folder / DATABASE) as copied:
            files = kept_files(copied)
        missing = copy_files(files, source, FolderFiles(folder))
        if not missing or all(file in kept_files(store) for file in missing):
            break
    make_portable(folder / DATABASE)
    sync(folder / DATABASE)
    backup = Backup(
        made_at=made_at,
        migration=newest() or "",
        database_sha256=_sha256(folder / DATABASE),
        n_files=len(files) - len(missing),
        size_bytes=sum(file.size_bytes for file in files if file not in missing),
        missing=[file.path for file in missing],
    )
    partial = folder / f"{MANIFEST}.new"
    write_durably(partial, [backup.model_dump_json(indent=2).encode(), b"\n"])
    rename_durably(partial, folder / MANIFEST)
    return backup


def restore(folder: Path, target: Store, target_files: Files, *, replaces: bool) -> tuple[Backup, Copied]:
    """Bring the rows and files of a backup to a database with the newest schema; no lease in it is good any more.

    Everything is checked by its hash before anything is changed. A backup of an older version is migrated on the way.

    Args:
        replaces: Whether the rows of a target that is not empty are dropped first.

    Raises:
        BadBackup: The folder holds no whole backup.
        NewerDatabase: A newer version has made it.
        NotCopied: The target is in use, or not empty.
        Unavailable: The database does not answer.
    """
    backup = read_backup(folder)
    with tempfile.TemporaryDirectory(prefix="spezia-restore-") as scratch:
        # to open a file of SQLite may write to it, and to migrate it does
        database = Path(scratch) / DATABASE
        copyfile(folder / DATABASE, database)
        with _opened(database) as source:
            backed_up = FolderFiles(folder)
            damaged = [file for file in kept_files(source) if not is_whole(backed_up, file)]
            if unexpected := [file for file in damaged if file.path not in backup.missing]:
                raise BadBackup(missing_in_words(unexpected, backed_up))
            copied = copy_database(source, target, backed_up, target_files, replaces=replaces, finish=_finish)
    return backup, copied


def read_backup(folder: Path) -> Backup:
    """Return what a backup says of itself, after a look at its database.

    Raises:
        BadBackup: The folder holds no whole backup.
    """
    try:
        backup = Backup.model_validate_json((folder / MANIFEST).read_bytes())
    except FileNotFoundError:
        raise BadBackup(f"{folder} holds no backup, or one that was interrupted: there is no {MANIFEST}") from None
    except ValidationError:
        raise BadBackup(f"{folder / MANIFEST} is not what `spezia db backup` has written") from None
    database = folder / DATABASE
    if not database.exists() or _sha256(database) != backup.database_sha256:
        raise BadBackup(f"{database} is missing or damaged: its hash is not that of {MANIFEST}")
    return backup


def _copy_database(store: Store, path: Path) -> datetime:
    """Write a new file of SQLite with the rows of one moment; return the moment."""
    for leftover in path.parent.glob(f"{path.name}*"):
        leftover.unlink()
    with store.reading() as tx:
        if tx.connection.dialect.name == "sqlite":
            back_up_sqlite(tx.connection, path)
        else:
            with _opened(path) as copied, copied.writing() as written:
                copy_rows(tx.connection, written.connection)
        return tx.now


@contextmanager
def _opened(path: Path) -> Iterator[Store]:
    """A file of SQLite with the newest schema."""
    engine = open_engine(sqlite_url(path))
    migrate(engine)
    with closing(Store(engine, DatabaseClock())) as store:
        yield store


def _finish(store: Store) -> None:
    void_leases(store)
    with store.writing() as tx:
        files_folder.forget(tx)  # the files may be in another one now


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
