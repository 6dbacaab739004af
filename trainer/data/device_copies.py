"""Copies between the host and the device that trains, which wait for the device as seldom as can be.

A plain copy to or from a CUDA device waits until the device has done all that it was given before, and the host can
prepare nothing meanwhile. Through host memory that is not paged it needs not.
"""

from collections.abc import Iterable

import torch


def to_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Return ``tensor`` on ``device``, where it may lie already, without waiting for a CUDA device."""
    if device.type == "cuda" and not tensor.is_cuda:
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def copies_on_host(tensors: Iterable[torch.Tensor]) -> list[torch.Tensor]:
    """Return a copy of each of ``tensors`` in host memory; a CUDA device is waited for once, not for each of them."""
    originals = [tensor.detach() for tensor in tensors]
    copies = [
        torch.empty_like(tensor, device="cpu", pin_memory=tensor.is_cuda).copy_(tensor, non_blocking=tensor.is_cuda)
        for tensor in originals
    ]
    if any(tensor.is_cuda for tensor in originals):
        torch.cuda.synchronize()
    return copies
