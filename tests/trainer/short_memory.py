"""A device that is short of memory once."""

from typing import Any

import pytest
import torch


def fail_once(monkeypatch: pytest.MonkeyPatch, owner: object, name: str) -> list[bool]:
    """Let the function ``name`` of a module or class run out of memory at its first call.

    Returns:
        A list that is empty until then.
    """
    real = getattr(owner, name)
    failed: list[bool] = []

    def call(*arguments: Any, **options: Any) -> Any:
        if not failed:
            failed.append(True)
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
        return real(*arguments, **options)

    monkeypatch.setattr(owner, name, call)
    return failed
