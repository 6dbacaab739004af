"""Whether the services on one database share one folder of uploaded files, as what one takes in another must find."""

import socket
from pathlib import Path

from service.store import files_folder
from service.store.store import Store
from spezia.common.write_durably import make_folder_durably, sync


def share_files(store: Store, folder: Path) -> None:
    """Return if ``folder`` is the one that the other services on this database use; the first one marks it.

    A database of SQLite has one service, and so nothing to compare.

    Raises:
        ValueError: It is another folder; the message says what to do.
        OSError: The folder cannot be written.
        Unavailable: The database does not answer.
    """
    with store.writing() as tx:
        if not tx.has_others:
            return
        is_first = files_folder.mark(tx, f"{socket.gethostname()}:{folder}")
        known = files_folder.find(tx)
        assert known is not None
        marker = folder / f"database-{known.marker}"
        if is_first:
            make_folder_durably(folder)
            marker.write_text("The services on one database know by this file that they share the folder; keep it.\n")
            sync(marker)
            sync(folder)
        elif not marker.exists():
            raise ValueError(
                f"the uploaded files of this database lie in another folder than {folder}, first {known.place}: let"
                " SPEZIA_FILES_DIR name the one that all its services share; or, if it is the same after all, make the"
                f" empty file {marker} in it"
            )
