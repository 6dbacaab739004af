"""Whether the services on one database share their uploaded files, as what one takes in another must find."""

import socket

from service.files.files import Files
from service.store import files_folder
from service.store.store import Store


def share_files(store: Store, files: Files) -> None:
    """Return if ``files`` are those that the other services on this database use; the first one marks their place.

    A database of SQLite has one service, and so nothing to compare.

    Raises:
        ValueError: They lie in another place; the message says what to do.
        OSError: The folder cannot be written.
        Unavailable: The database does not answer, or the bucket.
    """
    with store.writing() as tx:
        if not tx.has_others:
            return
        is_first = files_folder.mark(tx, f"{socket.gethostname()}:{files.place}")
        known = files_folder.find(tx)
        assert known is not None
        marker = f"database-{known.marker}"
        if is_first:
            files.mark(marker)
        elif not files.is_marked(marker):
            raise ValueError(
                f"the uploaded files of this database lie in another place than {files.place}, first {known.place}: let"
                " SPEZIA_FILES_DIR or SPEZIA_FILES_URL name the one that all its services share; or, if it is the same"
                f" after all, make the empty file {files.place}/{marker} in it"
            )
