"""Copy a database, and the files that it names, to another database."""

from collections.abc import Callable

from pydantic import BaseModel

from service.files.files import Files
from service.files.stored_file import StoredFile
from service.lifecycle.database.kept_files import copy_files, kept_files, uploading_files
from service.store.alone import lock_all
from service.store.copy_rows import copy_rows, first_difference, is_empty, remove_rows
from service.store.sql.connections import n_services
from service.store.store import Store

SHOWN_FILES = 5
"""How many missing files a message names."""


class Copied(BaseModel):
    """What a copy has brought to its target."""

    n_rows: dict[str, int]
    """Number of rows by table; empty where the target held all of them already."""
    n_files: int
    """Number of files that the database names."""


class NotCopied(ValueError):
    """A database was not copied, and the rows of the target are as they were; the message says what to do."""


def copy_database(
    source: Store,
    target: Store,
    source_files: Files,
    target_files: Files,
    *,
    replaces: bool = False,
    finish: Callable[[Store], object] | None = None,
) -> Copied:
    """Copy the files, and then all rows in one transaction; both databases have the newest schema.

    Wherever it is interrupted, the rows of the target are as they were, and it completes when it is run again. The rows
    are compared one by one before they are committed.

    Args:
        replaces: Whether the rows of a target that is not empty are dropped first.
        finish: What is done to the copied rows in the same transaction.

    Raises:
        NotCopied: A file is missing, or the target is in use or holds other rows.
        ValueError: A text cannot be stored in the target.
        Unavailable: One of the databases does not answer.
    """
    files = kept_files(source)
    if target_files.place != source_files.place:
        if missing := copy_files(files, source_files, target_files):
            raise NotCopied(f"{missing_in_words(missing, source_files)}; put them back, or delete their studies first")
        # their workers will say that they are done, and have each file shown
        copy_files(uploading_files(source), source_files, target_files)
    # nobody writes to either of them meanwhile
    with source.writing() as read, target.writing() as written:
        if n_services(written.connection):
            raise NotCopied("a service runs on the target database; stop all services that use it first")
        lock_all(read.connection)
        lock_all(written.connection)
        if not is_empty(written.connection):
            if not replaces and first_difference(read.connection, written.connection) is None:
                return Copied(n_rows={}, n_files=len(files))
            if not replaces:
                raise NotCopied("the target database holds other rows already; give an empty one")
            remove_rows(written.connection)
        n_rows = copy_rows(read.connection, written.connection)
        if (difference := first_difference(read.connection, written.connection)) is not None:
            raise NotCopied(f"the copy differs from the source: {difference}; this is a mistake of ours, report it")
        if finish is not None:
            finish(target.within(written))
    return Copied(n_rows=n_rows, n_files=len(files))


def missing_in_words(missing: list[StoredFile], files: Files) -> str:
    """Return which files are missing, or are not what the database says."""
    names = ", ".join(file.path for file in missing[:SHOWN_FILES])
    more = f" and {len(missing) - SHOWN_FILES} more" if len(missing) > SHOWN_FILES else ""
    return f"{len(missing)} files that the database names are missing or damaged in {files.place}: {names}{more}"
