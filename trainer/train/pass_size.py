"""What a batch does when it does not fit into memory: it goes through the model in smaller pieces.

The pieces of a training step are a matter of memory, never of the result: gradients add up over the effective
batch. Only dropout masks are drawn per piece, so a healed step restarts from its own seed: it and all later ones
are those of a trial that had these pieces from the start.
"""

import contextlib
import gc
import hashlib
import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

import torch

_LOG = logging.getLogger(__name__)
_Result = TypeVar("_Result")

_PHRASES = ("CUBLAS_STATUS_ALLOC_FAILED", "MPS backend out of memory", "DefaultCPUAllocator")
"""How a ``RuntimeError`` says that memory is short: cuBLAS for its workspace, MPS, and the host."""


class MemoryHints:
    """Remembers between trials what did not fit; with a folder, between processes too."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._known: dict[str, int] = {}

    def recall(self, key: str) -> int | None:
        """Padded tokens of a pass that fits, or ``None``: the default has always fitted."""
        if key not in self._known and self._folder is not None:
            # Not there, or cut short by a power cut: the trial finds out by itself
            with contextlib.suppress(FileNotFoundError, ValueError):
                self._known[key] = int(json.loads((self._folder / _name(key)).read_text())["tokens"])
        return self._known.get(key)

    def remember(self, key: str, tokens: int) -> None:
        """Let trials of ``key`` start with ``tokens``."""
        self._known[key] = tokens
        if self._folder is None:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        partial = self._folder / f".{uuid4().hex}"
        partial.write_text(json.dumps({"key": key, "tokens": tokens}))
        os.replace(partial, self._folder / _name(key))  # whoever reads at the same time finds one or the other


class Fit:
    """How many padded tokens go through the model at once; fewer whenever that turns out to be too many."""

    def __init__(self, tokens: int, hints: MemoryHints | None = None, key: str = "") -> None:
        """Args:
        tokens: what is tried where ``hints`` know nothing.
        key: what decides how much fits, for ``hints``.
        """
        self.tokens = (hints.recall(key) if hints else None) or tokens
        self._hints = hints
        self._key = key

    def rows(self, n_rows: int, longest: int) -> int:
        """Rows of ``longest`` tokens that go together, of ``n_rows``; at least 1."""
        return min(n_rows, max(1, self.tokens // longest))

    def run(self, work: Callable[[int], _Result], *, n_rows: int, longest: int) -> _Result:
        """Call ``work`` with the rows of a piece, and again with half as many while it runs out of memory.

        Args:
            work: must leave nothing of a failed call behind, or undo it in the next.
            n_rows: rows of the whole batch.
            longest: tokens of its longest row.

        Raises:
            torch.OutOfMemoryError, RuntimeError: even a single row does not fit.
        """
        while True:
            n_together = self.rows(n_rows, longest)
            try:
                return work(n_together)
            except RuntimeError as error:
                if n_together == 1 or not is_out_of_memory(error):
                    raise
                message = str(error).partition("\n")[0]
            # Not in the handler: the error's traceback holds the tensors of the failed pass
            n_together //= 2
            _LOG.warning("%s; going on with %d rows of %d tokens at once", message, n_together, longest)
            self.tokens = n_together * longest
            if self._hints:
                self._hints.remember(self._key, self.tokens)
            release_memory()


def again_if_short(work: Callable[[], _Result]) -> _Result:
    """Call ``work``, and once more with all memory that can be freed if it ran out of it.

    Args:
        work: must leave nothing of a failed call behind.
    """
    try:
        return work()
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
    # Not in the handler, as above
    release_memory()
    return work()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether ``error`` says that device or host memory is short, so that a smaller piece may fit."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(phrase in str(error) for phrase in _PHRASES)


def release_memory() -> None:
    """Give what is cached but unused back to the device: after a failure it lies in pieces of the wrong size."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def reset_peak_memory() -> None:
    """Begin to measure ``peak_memory`` anew."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def peak_memory() -> int:
    """Bytes of the CUDA device that tensors took at most since the last reset; 0 on other devices."""
    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0


def _name(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:32] + ".json"
