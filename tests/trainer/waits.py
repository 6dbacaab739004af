"""Counts, on a CPU, what would wait for a GPU."""

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

_READS = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero")
"""Operations whose result the host has to know before it goes on."""


class Operations(TorchDispatchMode):
    """Notes the reads of everything that runs meanwhile, and the copies from the host to the device ``meta``."""

    def __init__(self) -> None:
        super().__init__()
        self.n_reads = 0
        """But for those of transformers, whose masks look at each batch whether it has padding."""
        self.n_copies = 0

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = operation.overloadpacket.__name__
        if name in _READS and not _is_of_transformers(sys._getframe(1)):
            self.n_reads += 1
        result = operation(*args, **(kwargs or {}))
        if name in ("_to_copy", "copy_"):
            source = args[-1] if name == "copy_" else args[0]
            self.n_copies += source.device.type == "cpu" and result.device.type == "meta"
        return result


def _is_of_transformers(frame: FrameType | None) -> bool:
    while frame is not None:
        if "/transformers/" in frame.f_code.co_filename:
            return True
        if "/trainer/" in frame.f_code.co_filename and "/tests/" not in frame.f_code.co_filename:
            return False
        frame = frame.f_back
    return False


def count(work: Callable[[], object]) -> Operations:
    with Operations() as operations:
        work()
    return operations


META = torch.device("meta")
"""Stands for a device: it has no numbers, and copies to it can be told from others."""
