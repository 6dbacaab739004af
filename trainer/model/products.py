"""Which of PyTorch's libraries multiplies matrices of fp32 on a CPU.

PyTorch asks MKL, which has no AVX-512 for processors of other makers than Intel. oneDNN, which PyTorch carries as well,
has, and PyTorch asks it where products of fp32 may be computed by way of bf16. Only AMX does that; without AMX oneDNN
computes them in fp32. On an AMD EPYC of the fifth generation it takes half of MKL's time for the products of MiniLM, on
one of the fourth nine tenths, and errors are as small (3.5e-7 and 2.5e-7 of the result, root mean square).
"""

import functools
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from trainer.model.device import Precision, processor

_SWITCH = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]  # an object takes the module's place
_OF_ONEDNN = "bf16"
"""PyTorch's word for what lets it ask oneDNN."""
_MAX_ERROR = 1e-5
"""Relative error that tells products in fp32, with some 1e-7, from those by way of bf16, with some 1e-4."""


@contextmanager
def faster_products(device: torch.device, precision: Precision) -> Iterator[None]:
    """Let products of fp32 come from oneDNN for a while, where that is faster and as exact.

    It is for all of the process, and PyTorch's fused attention becomes slow by it for short rows, so those attend step
    by step meanwhile (`trainer/model/dropout_masks.py`), and scripts of users are to know nothing of it.
    """
    before = _SWITCH.fp32_precision
    if device.type == "cpu" and precision == "fp32" and _is_faster() and is_exact():
        _SWITCH.fp32_precision = _OF_ONEDNN
    try:
        yield
    finally:
        _SWITCH.fp32_precision = before


def come_from_onednn(device: torch.device) -> bool:
    """Whether products of fp32 on ``device`` come from oneDNN now."""
    return device.type == "cpu" and _SWITCH.fp32_precision == _OF_ONEDNN


def _is_faster() -> bool:
    """By the make of the processor, and not by a measurement, so that all workers of one machine do the same."""
    maker, flags = processor()
    return maker == "AuthenticAMD" and "avx512f" in flags and "amx_bf16" not in flags


@functools.cache
def is_exact() -> bool:
    """Whether oneDNN multiplies numbers of fp32 in all their bits, seen from a product."""
    before = _SWITCH.fp32_precision
    numbers = torch.linspace(1.0, 2.0, 128 * 128).view(128, 128)
    _SWITCH.fp32_precision = _OF_ONEDNN
    try:
        product = numbers @ numbers
    finally:
        _SWITCH.fp32_precision = before
    exact = numbers.double() @ numbers.double()
    return bool(((product - exact).abs() / exact).max() < _MAX_ERROR)
