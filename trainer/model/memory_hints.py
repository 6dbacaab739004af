"""Remembers what trials have found out about memory, for the trials that follow."""

import contextlib
import hashlib
import json
import os
from pathlib import Path
from uuid import uuid4


class MemoryHints:
    """How large a micro-batch fits, remembered between trials, and with a folder between processes."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._known: dict[str, int] = {}

    def recall(self, key: str) -> int | None:
        """Return the padded tokens of a micro-batch that fits; ``None``: the default has always fitted."""
        if key not in self._known and self._folder is not None:
            # Not there, or cut short by a power cut: the trial finds out by itself
            with contextlib.suppress(FileNotFoundError, ValueError):
                self._known[key] = int(json.loads((self._folder / _name(key)).read_text())["tokens"])
        return self._known.get(key)

    def remember(self, key: str, tokens: int) -> None:
        """Let later trials of ``key`` begin with micro-batches of ``tokens`` padded tokens."""
        self._known[key] = tokens
        if self._folder is None:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        partial = self._folder / f".{uuid4().hex}"
        partial.write_text(json.dumps({"key": key, "tokens": tokens}))
        os.replace(partial, self._folder / _name(key))  # whoever reads at the same time finds one or the other


def _name(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:32] + ".json"
