"""The folders of uploaded models and of checkpoints that were sent, one for each lease: removing those that no row
points to."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from service.errors import LeaseLost, Unavailable
from service.files.files import Files
from service.files.stored_file import ARTIFACTS, lease_folder
from service.store import artifacts, attempts, sent_checkpoints
from service.store.store import Store

log = logging.getLogger(__name__)


def remove_folders(files: Files, lease_ids: Iterable[str]) -> set[str]:
    """Remove the folders of these leases; called after the commit that dropped the rows of their files.

    What was committed stands whatever becomes of the folders: return the leases whose folders are gone.
    """
    removed = set()
    try:
        for lease_id in lease_ids:
            files.remove(lease_folder(lease_id))
            removed.add(lease_id)
    except Unavailable as error:
        log.warning("files that nobody needs any more are removed later: %s", error)
    return removed


@contextmanager
def too_late_leaves_nothing(store: Store, lease_id: str) -> Iterator[None]:
    """Have what was sent under a lease removed, if the block finds the lease gone and nothing else came under it."""
    try:
        yield
    except LeaseLost:
        with store.writing() as tx:
            artifacts.drop_stray(tx, lease_id)
        raise


def remove_dropped_folders(store: Store, files: Files) -> None:
    """Remove uploaded files whose study was deleted, or whose lease has ended without a result that shows them, and
    checkpoints that no trial goes on from any more."""
    with store.writing() as tx:
        artifacts.drop_folders(tx, artifacts.take_hidden(tx) | sent_checkpoints.take_unwanted(tx))
        unwanted = artifacts.dropped_folders(tx)
    if removed := remove_folders(files, unwanted):
        with store.writing() as tx:
            artifacts.forget_dropped(tx, removed)


def remove_unused_folders(store: Store, files: Files) -> None:
    """Remove what `remove_dropped_folders` does, and every folder of an ended lease that no row tells of any more.

    Only a crash leaves such folders, so that to look at all of them once at the start is enough. Those of leases that
    this database does not know are left alone: another database may keep its models in the same place.
    """
    remove_dropped_folders(store, files)
    found = files.folders(ARTIFACTS)
    if not found:
        return
    with store.reading() as tx:
        unwanted = attempts.ended_ids(tx, found - artifacts.folders(tx) - sent_checkpoints.folders(tx))
    remove_folders(files, unwanted)
