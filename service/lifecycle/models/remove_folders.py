"""Delete what no result needs any more."""

import shutil
from collections.abc import Iterable
from pathlib import Path


def remove_folders(folder: Path, lease_ids: Iterable[str]) -> None:
    """Remove files that no row points to any more; called after the commit that dropped the rows."""
    for lease_id in lease_ids:
        shutil.rmtree(folder / lease_id, ignore_errors=True)
