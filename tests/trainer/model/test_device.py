"""Devices and number formats; CUDA is described without one."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from trainer.errors import ConfigError
from trainer.model.device import (
    choose_device,
    choose_precision,
    describe_device,
    forbid_tf32,
    seed_device,
    training_tokens,
)

CPU = torch.device("cpu")
CUDA = torch.device("cuda", 0)


def test_cpu_describes_itself() -> None:
    device = describe_device(CPU)
    assert device.kind == "cpu"
    assert device.name
    assert device.memory_bytes > 2**28


def test_cuda_comes_before_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device() == CUDA


@pytest.mark.parametrize(("share", "expected"), [(1.0, 8 * 8_192), (0.5, 4 * 8_192), (0.01, 8_192)])
def test_a_pass_has_as_many_tokens_as_the_share_of_the_chosen_device_has_room_for(
    monkeypatch: pytest.MonkeyPatch, share: float, expected: int
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda.memory, "_lazy_init", lambda: None)
    # Below what PyTorch checks itself, such as that the device has a number
    monkeypatch.setattr(torch._C, "_cuda_getMemoryFraction", lambda _number: share, raising=False)
    total = SimpleNamespace(total_memory=80 * 2**30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _device: total)
    assert training_tokens(choose_device()) == expected


def test_without_an_accelerator_the_cpu_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert choose_device() == CPU


@pytest.mark.parametrize("flags", ["fpu avx512f avx512_bf16 vaes", "fpu amx_bf16 amx_tile"])
def test_a_processor_that_multiplies_bf16_computes_in_it_if_it_is_asked_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: str
) -> None:
    describe_processor(tmp_path, monkeypatch, f"processor\t: 0\nflags\t\t: {flags}\nbugs\t:\n")
    assert describe_device(CPU).bf16
    assert choose_precision("bf16", CPU) == "bf16"
    assert choose_precision("auto", CPU) == choose_precision("fp32", CPU) == "fp32"


@pytest.mark.parametrize("cpuinfo", ["flags\t: fpu avx512f avx512_bf16x\n", "Features\t: fp bf16\n", None])
def test_another_processor_computes_in_fp32_and_refuses_bf16(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cpuinfo: str | None
) -> None:
    describe_processor(tmp_path, monkeypatch, cpuinfo)
    assert not describe_device(CPU).bf16
    assert choose_precision("auto", CPU) == choose_precision("fp32", CPU) == "fp32"
    with pytest.raises(ConfigError, match=r"compute capability 8\.0 or newer, or a processor with AVX512-BF16 or AMX"):
        choose_precision("bf16", CPU)


def describe_processor(folder: Path, monkeypatch: pytest.MonkeyPatch, cpuinfo: str | None) -> None:
    file = folder / "cpuinfo"
    if cpuinfo is not None:
        file.write_text(cpuinfo)
    monkeypatch.setattr("trainer.model.device.CPUINFO", file)


@pytest.mark.parametrize(("capability", "precision"), [((7, 5), "fp32"), ((8, 0), "bf16"), ((9, 0), "bf16")])
def test_cuda_computes_in_bf16_from_capability_8(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], precision: str
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: capability)
    assert choose_precision("auto", CUDA) == precision
    assert choose_precision("fp32", CUDA) == "fp32"


def test_fp32_is_never_computed_in_tf32() -> None:
    for backend in (torch.backends.cuda.matmul, torch.backends.cudnn):
        before = backend.allow_tf32
        backend.allow_tf32 = True
        try:
            forbid_tf32()
            assert not backend.allow_tf32
        finally:
            backend.allow_tf32 = before


def test_a_seeded_device_draws_what_it_draws_after_torch_manual_seed() -> None:
    torch.manual_seed(2**62 + 5)
    drawn = torch.rand(4), torch.randperm(9)
    seed_device(2**62 + 5, CPU)
    torch.testing.assert_close((torch.rand(4), torch.randperm(9)), drawn, atol=0, rtol=0)
