"""Remembers what trials have found out about memory, for the trials that follow."""

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

TRUSTED_SECONDS = 3_600.0
"""Time for which a hint is trusted. Memory may have been short because of another process, which is gone by then; if
not, finding out costs a failed step an hour."""


class _Hint(NamedTuple):
    tokens: int
    at: float


class MemoryHints:
    """How large a micro-batch fits, remembered between trials, and with a folder between processes."""

    def __init__(self, folder: Path | None = None, clock: Callable[[], float] = time.time) -> None:
        """Remember nothing yet but what lies in ``folder``.

        Args:
            clock: returns seconds since 1970.
        """
        self._folder = folder
        self._clock = clock
        self._known: dict[str, _Hint] = {}

    def recall(self, key: str, most: int) -> int:
        """Return how many padded tokens of a micro-batch fit as far as is known, at most ``most``.

        A hint that is no longer trusted is doubled: the trial that recalls it finds out whether that much fits again.
        """
        hint = self._read(key)
        if hint is None:
            return most
        if self._clock() - hint.at < TRUSTED_SECONDS:
            return min(hint.tokens, most)
        grown = min(2 * hint.tokens, most)
        self.remember(key, grown)
        return grown

    def remember(self, key: str, tokens: int) -> None:
        """Let later trials of ``key`` begin with micro-batches of ``tokens`` padded tokens."""
        hint = _Hint(tokens, self._clock())
        self._known[key] = hint
        if self._folder is None:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        partial = self._folder / f".{uuid4().hex}"
        partial.write_text(json.dumps({"key": key, **hint._asdict()}))
        os.replace(partial, self._folder / _name(key))  # whoever reads at the same time finds one or the other

    def _read(self, key: str) -> _Hint | None:
        if self._folder is not None:
            # Not there, or cut short by a power cut: the trial finds out by itself
            with contextlib.suppress(FileNotFoundError, ValueError, KeyError):
                known = json.loads((self._folder / _name(key)).read_text())
                self._known[key] = _Hint(int(known["tokens"]), float(known["at"]))
        return self._known.get(key)


def _name(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:32] + ".json"
