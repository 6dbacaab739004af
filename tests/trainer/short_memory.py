"""A device that is short of memory once."""

from itertools import count
from typing import Any

import pytest
import torch


def fail_once(monkeypatch: pytest.MonkeyPatch, owner: object, name: str, n_before: int = 0) -> list[bool]:
    """Let the function ``name`` of a module or class run out of memory once, after ``n_before`` calls.

    Returns:
        A list that is empty until then.
    """
    real = getattr(owner, name)
    failed: list[bool] = []
    calls = count()

    def call(*arguments: Any, **options: Any) -> Any:
        if next(calls) == n_before:
            failed.append(True)
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
        return real(*arguments, **options)

    monkeypatch.setattr(owner, name, call)
    return failed
