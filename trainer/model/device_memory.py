"""Tells whether the memory of the device is short, frees it, and measures how much of it a trial took."""

import gc
import resource
import sys
from collections.abc import Callable
from typing import TypeVar

import torch

_Result = TypeVar("_Result")

_PHRASES = (
    "CUDA error: out of memory",  # of the runtime, where its own allocation fails and not that of torch
    "CUDA driver error: out of memory",  # of the driver, as with expandable segments
    "CUDA_ERROR_OUT_OF_MEMORY",  # of the driver, by its name, as kernels compiled on the way say it
    "CUDNN_STATUS_ALLOC_FAILED",
    "DEVICE_ALLOCATION_FAILED",  # cuDNN 9's name for it
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate",  # it has no room for its workspace
    "MPS backend out of memory",
    "DefaultCPUAllocator",  # the host
)
"""Words by which a ``RuntimeError`` says that memory is short."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether ``error`` says that device or host memory is short, so that less of it may fit."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(phrase in str(error) for phrase in _PHRASES)


def release_memory() -> None:
    """Give what is cached but unused back to the device: after a failure it lies in pieces of the wrong size."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def retry_with_free_memory(work: Callable[[], _Result]) -> _Result:
    """Call ``work``, and once more with all memory that can be freed if it ran out of memory.

    Args:
        work: must leave nothing of a failed call behind.
    """
    try:
        return work()
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
    # Not in the handler: the error's traceback holds the tensors of the failed call
    release_memory()
    return work()


def reset_peak_memory() -> None:
    """Begin to measure ``peak_memory`` anew."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def peak_memory() -> int:
    """Return how many bytes of the CUDA device tensors took at most since the last reset; 0 on other devices."""
    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0


def peak_resident_memory() -> int:
    """Return how many bytes of the host's memory this process has taken at most, since it began."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
