"""The device that trains, and the number format that it computes in."""

import functools
import os
import platform
import re
from pathlib import Path
from typing import Literal

import torch

from spezia.contract.protocol import Device
from trainer.errors import ConfigError

CPUINFO = Path("/proc/cpuinfo")
"""Where Linux says what the processor can do."""

_BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16"})
"""Instructions that multiply bf16, as Linux calls them."""

Precision = Literal["fp32", "bf16"]
"""Number format that a model computes in."""

_SCORING_TOKENS = {"cpu": 1_024, "mps": 16_384, "cuda": 16_384}
"""By device, padded tokens of one forward pass without gradients, which takes little memory. On the CPU what matters is
that a processor's cache holds the activations: MiniLM takes 1.5 to 2.1 times as long with 16,384, however long its rows
are (benchmarks/evaluation_batch.py). A GPU wants much work at once: 32 rows of 512."""


_TRAINING_TOKENS = {"cpu": 2_048, "mps": 8_192, "cuda": 8_192}
"""By device, padded tokens of one forward and backward pass: a few GB for a model of the size of BERT. On the CPU
512 to 4,096 take equally long (docs/performance.md), and who has too little memory is killed, not told."""

_TRAINING_BYTES = 10 * 2**30
"""Memory of a CUDA device for which it may have that many tokens in a pass once more."""


def choose_device(memory_share: float | None = None) -> torch.device:
    """Return the first of CUDA, MPS and CPU that this machine has.

    A CUDA device has its number, as tensors on it have: without it some functions of PyTorch raise, and what is kept by
    device is kept twice.

    Args:
        memory_share: Share of the memory of a CUDA device that this process may use; ``None``: all of it.
    """
    if torch.cuda.is_available():
        device = torch.device("cuda", 0)
        if memory_share is not None:
            torch.cuda.set_per_process_memory_fraction(memory_share, device)
        return device
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def scoring_tokens(device: torch.device) -> int:
    """Return how many padded tokens go through a model at once where nothing trains: a matter of speed, never of the
    result."""
    return _SCORING_TOKENS[device.type]


def training_tokens(device: torch.device) -> int:
    """Return how many padded tokens go through a model at once in training, if memory allows: a matter of speed, never
    of the result."""
    tokens = _TRAINING_TOKENS[device.type]
    if device.type != "cuda":
        return tokens
    share = torch.cuda.get_per_process_memory_fraction(device)
    usable = int(share * torch.cuda.get_device_properties(device).total_memory)
    return tokens * max(1, usable // _TRAINING_BYTES)


def seed_device(seed: int, device: torch.device) -> None:
    """Seed what is drawn on ``device``, and on the host, where some models draw which of their layers to leave out.

    The numbers drawn are those after ``torch.manual_seed``, which looks for devices of every kind, 0.16 ms each time.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)


def forbid_tf32() -> None:
    """Let this process compute in all 24 bits of fp32 wherever it computes in fp32, and never in TF32's 11.

    PyTorch allows TF32 for convolutions unless told otherwise. With precision bf16 the body does not need it, and heads
    compute in fp32 for their bits.
    """
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


def describe_device(device: torch.device) -> Device:
    """Return kind, name and memory of ``device``, as a worker registers them."""
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        return Device(
            kind="cuda",
            name=properties.name,
            memory_bytes=properties.total_memory,
            bf16=computes_in_bf16(device),
        )
    return Device(
        kind="mps" if device.type == "mps" else "cpu",
        name=platform.processor() or platform.machine(),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        bf16=computes_in_bf16(device),
    )


def choose_precision(wanted: Literal["auto", "fp32", "bf16"], device: torch.device) -> Precision:
    """Return the precision that a study asks for, or for ``auto`` the one that ``device`` computes in by itself.

    Raises:
        ConfigError: ``wanted`` is bf16 and the device cannot.
    """
    if wanted == "bf16" and not computes_in_bf16(device):
        raise ConfigError(
            "precision bf16 needs a CUDA device of compute capability 8.0 or newer, or a processor with AVX512-BF16 or "
            f"AMX; this worker has another {device.type} device; set training.precision to fp32 in a new study, or run "
            "it on such a device"
        )
    if wanted == "auto":
        return "bf16" if device.type == "cuda" and computes_in_bf16(device) else "fp32"
    return wanted


def computes_in_bf16(device: torch.device) -> bool:
    """Whether ``device`` multiplies bf16 by itself. Others emulate it, slower than fp32; torch counts them, too."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return device.type == "cpu" and not _BF16_FLAGS.isdisjoint(processor()[1])


def processor() -> tuple[str, frozenset[str]]:
    """Return who made this machine's processor, and what it can do, both in Linux' words; nothing where it does not
    say."""
    return _read_processor(CPUINFO)


@functools.cache
def _read_processor(cpuinfo: Path) -> tuple[str, frozenset[str]]:
    if not cpuinfo.exists():
        return "", frozenset()
    found = dict(re.findall(r"^(vendor_id|flags)\s*:\s*(.*)$", cpuinfo.read_text(), re.MULTILINE))
    return found.get("vendor_id", ""), frozenset(found.get("flags", "").split())
