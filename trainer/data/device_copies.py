"""Copies between the host and the device that trains, which wait for the device as seldom as can be.

A plain copy to or from a GPU waits until that has done all that it was given before, and the host can prepare nothing
meanwhile.
"""

from collections.abc import Iterable, Iterator, Sequence

import torch

GROUP_BYTES = 2**25
"""Size up to which tensors are joined before they are copied to the host, for which the device has to have room."""


def to_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Return ``tensor`` on ``device``, where it may lie already, without waiting for a CUDA device."""
    if device.type == "cuda" and not tensor.is_cuda:
        return tensor.pin_memory().to(device, non_blocking=True)  # from memory that is paged it would wait
    return tensor.to(device)


def copies_on_host(tensors: Iterable[torch.Tensor]) -> list[torch.Tensor]:
    """Return a copy of each of ``tensors`` in host memory.

    Small ones travel together, so that the device is waited for once for many of them; their copies share memory.
    """
    originals = [tensor.detach() for tensor in tensors]
    copies: dict[int, torch.Tensor] = {}
    for group in _groups(originals):
        if len(group) == 1:
            copies[group[0]] = originals[group[0]].to("cpu", copy=True)
            continue
        joined = torch.cat([originals[position].flatten() for position in group]).cpu()
        parts = torch.split(joined, [originals[position].numel() for position in group])
        copies |= {position: part.view(originals[position].shape) for position, part in zip(group, parts, strict=True)}
    return [copies[position] for position in range(len(originals))]


def _groups(tensors: Sequence[torch.Tensor]) -> Iterator[list[int]]:
    """Yield the positions of tensors that travel together: of one dtype, and of ``GROUP_BYTES`` unless it is one."""
    waiting: dict[torch.dtype, list[int]] = {}
    for position, tensor in enumerate(tensors):
        group = waiting.setdefault(tensor.dtype, [])
        if group and sum(tensors[other].nbytes for other in group) + tensor.nbytes > GROUP_BYTES:
            yield waiting.pop(tensor.dtype)
            group = waiting.setdefault(tensor.dtype, [])
        group.append(position)
    yield from waiting.values()
