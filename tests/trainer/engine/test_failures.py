"""The class of what went wrong, and the line that says it."""

import errno

import pytest
import torch

from trainer.engine.failures import failure_of
from trainer.errors import DataError, Diverged


@pytest.mark.parametrize(
    ("error", "failure_class"),
    [
        (DataError("row 3"), "data_error"),
        (Diverged("nan"), "diverged"),
        (torch.OutOfMemoryError("CUDA out of memory"), "out_of_memory"),
        (torch.AcceleratorError("CUDA error: out of memory"), "out_of_memory"),
        (torch.AcceleratorError("device-side assert"), "device_error"),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), "device_error"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "host_out_of_memory"),
        (MemoryError(), "host_out_of_memory"),
        (OSError(errno.ENOSPC, "No space left on device"), "disk_full"),
        (RuntimeError("safetensors: No space left on device (os error 28)"), "disk_full"),
        (KeyError("x"), "exception"),
    ],
)
def test_error_has_its_class(error: Exception, failure_class: str) -> None:
    assert failure_of(error).failure_class == failure_class


def test_message_is_one_line_with_the_type_of_what_we_did_not_expect() -> None:
    assert failure_of(ValueError("bad\n  value")).message == "ValueError: bad value"
    assert failure_of(DataError("train.csv, row 3: no label")).message == "train.csv, row 3: no label"
    assert len(failure_of(ValueError("x" * 5_000)).message) == 1_000
