"""Remove files that no trial will ever show: of attempts that were lost, released or killed in an upload."""

import shutil
from pathlib import Path

from service.store import artifacts
from service.store.transaction import Store


def sweep(store: Store, folder: Path) -> int:
    """Forget hidden files whose lease is gone, then remove folders that nothing points to; return how many.

    A folder is looked at before its lease is: one that appears meanwhile is left alone.
    """
    if not folder.exists():
        return 0
    seen = [path for path in folder.iterdir() if path.is_dir()]
    with store.reading() as tx:
        has_abandoned = bool(artifacts.abandoned(tx))
    if has_abandoned:
        with store.writing() as tx:
            for lease_id in artifacts.abandoned(tx):
                artifacts.forget(tx, lease_id)
    with store.reading() as tx:
        needed = artifacts.needed_folders(tx)
    unneeded = [path for path in seen if path.name not in needed]
    for path in unneeded:
        shutil.rmtree(path, ignore_errors=True)
    return len(unneeded)
