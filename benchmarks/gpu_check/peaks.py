"""What the device does at best, measured: the yardstick for shares of a peak."""

import time

import torch

_SIDES = {"cuda": 8_192, "mps": 2_048, "cpu": 512}
_TIMES = 10


def matmul_tflops(device: torch.device, dtype: torch.dtype) -> float:
    """Return 10^12 operations a second of a product of two large square matrices of random numbers."""
    side = _SIDES[device.type]
    left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    for _ in range(3):
        left @ right
    wait_for(device)
    started = time.perf_counter()
    for _ in range(_TIMES):
        left @ right
    wait_for(device)
    return round(_TIMES * 2 * side**3 / (time.perf_counter() - started) / 1e12, 3)


def wait_for(device: torch.device) -> None:
    """Wait until the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
