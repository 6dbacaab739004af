"""The folders of uploaded models and of checkpoints that were sent, one for each lease: removing those that no row
points to."""

import shutil
from collections.abc import Iterable
from pathlib import Path

from service.store import artifacts, attempts, sent_checkpoints
from service.store.store import Store


def remove_folders(folder: Path, lease_ids: Iterable[str]) -> None:
    """Remove the folders of these leases; called after the commit that dropped the rows of their files."""
    for lease_id in lease_ids:
        shutil.rmtree(folder / lease_id, ignore_errors=True)


def remove_dropped_folders(store: Store, folder: Path) -> None:
    """Remove uploaded files whose study was deleted, or whose lease has ended without a result that shows them, and
    checkpoints that no trial goes on from any more."""
    with store.writing() as tx:
        unwanted = artifacts.take_hidden(tx) | artifacts.take_dropped(tx) | sent_checkpoints.take_unwanted(tx)
    remove_folders(folder, unwanted)


def remove_unused_folders(store: Store, folder: Path) -> None:
    """Remove what `remove_dropped_folders` does, and every folder of an ended lease that no row tells of any more.

    Only a crash leaves such folders, so that to look at all of them once at the start is enough. Those of leases that
    this database does not know are left alone: another database may keep its models in the same ``folder``.
    """
    remove_dropped_folders(store, folder)
    found = {entry.name for entry in folder.iterdir()} if folder.exists() else set()
    if not found:
        return
    with store.reading() as tx:
        unwanted = attempts.ended_ids(tx, found - artifacts.folders(tx) - sent_checkpoints.folders(tx))
    remove_folders(folder, unwanted)
