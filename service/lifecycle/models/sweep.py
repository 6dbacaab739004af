"""Files that nobody will ever see: a crash, or the loss of a lease, has left them behind."""

from pathlib import Path

from service.lifecycle.models.remove_folders import remove_folders
from service.store import artifacts, leases
from service.store.store import Store


def sweep(store: Store, folder: Path) -> None:
    """Remove uploaded files whose study is gone, or whose lease has ended without a result that shows them.

    Only of leases that this database knows: another one may keep its models in the same folder.
    """
    found = {entry.name for entry in folder.iterdir()} if folder.exists() else set()
    if not found:
        return
    with store.writing() as tx:
        ended = leases.ended_ids(tx, found)
        artifacts.forget_hidden(tx, ended)
        unwanted = (ended - artifacts.folders(tx)) | artifacts.take_dropped(tx)
    remove_folders(folder, unwanted)
