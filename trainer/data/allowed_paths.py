"""Which files of the machine a study may name: those under folders that the operator allows."""

import os
from collections.abc import Sequence
from pathlib import Path


def find_allowed(name: str, roots: Sequence[Path], *, option: str = "--data-root") -> Path | None:
    """Find the file or directory ``name``, absolute or relative to each root in turn, with symlinks resolved.

    Args:
        roots: folders that the operator allows.
        option: the worker's option that allows folders, for the message.

    Returns:
        The existing file or directory, or ``None`` if there is none.

    Raises:
        PermissionError: ``name`` lies outside all roots; the message says how to allow it.
    """
    if "\0" in name:
        return None
    candidates = [Path(name)] if os.path.isabs(name) else [root / name for root in roots]
    for candidate in candidates:
        resolved = Path(os.path.realpath(candidate))
        # Before asking whether it exists: what lies outside the roots is nobody's business
        if not any(resolved.is_relative_to(root.resolve()) for root in roots):
            raise PermissionError(
                f"{name} lies outside the folders that this worker may read ({_list(roots)}); move it "
                f"there, or start the worker with {option} {resolved.parent}"
            )
        if os.path.exists(resolved):  # not Path.exists, which raises for a name too long for the file system
            return resolved
    return None


def describe_search(name: str, roots: Sequence[Path]) -> str:
    """Return ``name`` and where ``find_allowed`` looked for it, for messages."""
    return name if os.path.isabs(name) else f"{name} under {_list(roots)}"


def _list(roots: Sequence[Path]) -> str:
    return ", ".join(map(str, roots)) or "none is allowed"
