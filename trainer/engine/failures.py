"""What an error of an assignment is to the service: a class of failures, and a line that says what happened."""

import errno

import torch

from spezia.contract.failure import Failure
from trainer.errors import TrainerError
from trainer.model.device_memory import is_out_of_memory

_MAX_MESSAGE = 1_000
"""Largest number of characters of a failure's message."""


def failure_of(error: Exception) -> Failure:
    """Return the failure that ``error`` is: its class, and one line that says what happened."""
    message = " ".join(str(error).split())[:_MAX_MESSAGE]
    if isinstance(error, TrainerError):
        return Failure.model_validate({"failure_class": error.failure_class, "message": message})
    message = f"{type(error).__name__}: {message}"[:_MAX_MESSAGE]
    return Failure.model_validate({"failure_class": _class_of(error), "message": message})


def _class_of(error: Exception) -> str:
    text = str(error)
    if is_out_of_memory(error) and "DefaultCPUAllocator" not in text:
        return "out_of_memory"
    if isinstance(error, torch.AcceleratorError) or (isinstance(error, RuntimeError) and "CUDA error" in text):
        return "device_error"
    if isinstance(error, MemoryError) or "DefaultCPUAllocator" in text:
        return "host_out_of_memory"
    if (isinstance(error, OSError) and error.errno == errno.ENOSPC) or "No space left on device" in text:
        return "disk_full"
    return "exception"
