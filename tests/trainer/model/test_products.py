"""Products of fp32 come from the faster library where it computes in all their bits, and nobody else is told."""

from pathlib import Path

import pytest
import torch
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from trainer.model import products
from trainer.model.device import Precision
from trainer.model.dropout_masks import register_attention
from trainer.model.products import come_from_onednn, faster_products

CPU = torch.device("cpu")
EPYC = "vendor_id\t: AuthenticAMD\nflags\t\t: fpu avx2 avx512f avx512_bf16\n"
XEON = "vendor_id\t: GenuineIntel\nflags\t\t: fpu avx2 avx512f avx512_bf16\n"


@pytest.fixture
def on_an_epyc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A processor of AMD with AVX-512, whatever this machine has."""
    (tmp_path / "cpuinfo").write_text(EPYC)
    monkeypatch.setattr("trainer.model.device.CPUINFO", tmp_path / "cpuinfo")


@pytest.mark.usefixtures("on_an_epyc")
def test_products_come_from_onednn_for_a_while_and_then_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "is_exact", lambda: True)

    def fail() -> None:
        with faster_products(CPU, "fp32"):
            assert come_from_onednn(CPU)
            raise ZeroDivisionError

    before = torch.backends.mkldnn.matmul.fp32_precision
    with pytest.raises(ZeroDivisionError):
        fail()
    assert torch.backends.mkldnn.matmul.fp32_precision == before
    assert not come_from_onednn(CPU)


@pytest.mark.usefixtures("on_an_epyc")
@pytest.mark.parametrize("shape", [(1, 384, 10), (7, 5, 3), (192, 384, 1_536), (768, 1_536, 384), (33, 129, 257)])
def test_products_from_onednn_are_as_exact_and_so_are_their_gradients(shape: tuple[int, int, int]) -> None:
    n, k, m = shape
    torch.manual_seed(0)
    left, right = torch.randn(n, k), torch.randn(m, k)

    def results(of: torch.dtype) -> list[torch.Tensor]:
        one, other = left.to(of).requires_grad_(), right.to(of).requires_grad_()
        product = torch.nn.functional.linear(one, other)
        return [product.detach(), *torch.autograd.grad(product.square().sum(), [one, other])]

    with faster_products(CPU, "fp32"):
        found = results(torch.float32)
    for ours, exact in zip(found, results(torch.float64), strict=True):
        assert (ours - exact).norm() / exact.norm() < 2e-6


@pytest.mark.parametrize(
    ("cpuinfo", "device", "precision"),
    [
        (XEON, "cpu", "fp32"),
        (EPYC.replace("avx512f ", ""), "cpu", "fp32"),
        # AMX would compute by way of bf16
        (EPYC.replace("avx512f", "avx512f amx_bf16"), "cpu", "fp32"),
        ("", "cpu", "fp32"),
        (EPYC, "cpu", "bf16"),
        (EPYC, "meta", "fp32"),
    ],
)
def test_products_stay_where_they_are(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cpuinfo: str, device: str, precision: Precision
) -> None:
    (tmp_path / "cpuinfo").write_text(cpuinfo)
    monkeypatch.setattr("trainer.model.device.CPUINFO", tmp_path / "cpuinfo")
    with faster_products(torch.device(device), precision):
        assert not come_from_onednn(CPU)


@pytest.mark.usefixtures("on_an_epyc")
def test_a_library_that_drops_bits_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    multiply = torch.Tensor.__matmul__

    def by_way_of_bf16(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        if left.dtype == torch.float32:
            left, right = left.bfloat16().float(), right.bfloat16().float()
        return multiply(left, right)

    products.is_exact.cache_clear()
    monkeypatch.setattr(torch.Tensor, "__matmul__", by_way_of_bf16)
    try:
        with faster_products(CPU, "fp32"):
            assert not come_from_onednn(CPU)
    finally:
        products.is_exact.cache_clear()


@pytest.mark.parametrize("n_keys", [1, 24, 256, 257])
@pytest.mark.parametrize("masked", [False, True])
def test_attention_in_steps_is_what_fused_attention_computes(
    monkeypatch: pytest.MonkeyPatch, n_keys: int, masked: bool
) -> None:
    monkeypatch.setattr("trainer.model.dropout_masks.come_from_onednn", lambda _device: True)
    torch.manual_seed(0)
    module = torch.nn.Module()
    module.is_causal = not masked
    query, key, value = torch.randn(3, 2, 4, n_keys, 8).requires_grad_().unbind()
    mask = None
    if masked:
        mask = torch.ones(2, 1, n_keys, n_keys, dtype=torch.bool)
        mask[1, ..., n_keys // 2 + 1 :] = False
    register_attention()
    fused, _ = sdpa_attention_forward(module, query, key, value, mask)
    attended, _ = ALL_ATTENTION_FUNCTIONS["sdpa"](module, query, key, value, mask)
    of_attended = torch.autograd.grad(attended.square().sum(), [query, key, value], retain_graph=True)
    of_fused = torch.autograd.grad(fused.square().sum(), [query, key, value], retain_graph=True)
    torch.testing.assert_close(attended, fused, atol=2e-6, rtol=1e-5)
    torch.testing.assert_close(of_attended, of_fused, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("n_keys", "from_onednn", "is_fused"), [(256, True, False), (257, True, True), (8, False, True)]
)
def test_short_rows_attend_in_steps_where_fused_attention_is_slow(
    monkeypatch: pytest.MonkeyPatch, n_keys: int, from_onednn: bool, is_fused: bool
) -> None:
    fused = []

    def note(module: torch.nn.Module, query: torch.Tensor, *_: object, **__: object) -> tuple[torch.Tensor, None]:
        fused.append(module)
        return query.transpose(1, 2), None

    monkeypatch.setattr("trainer.model.dropout_masks.come_from_onednn", lambda _device: from_onednn)
    monkeypatch.setattr("trainer.model.dropout_masks.sdpa_attention_forward", note)
    register_attention()
    tensors = torch.randn(3, 1, 2, n_keys, 4).unbind()
    attended, _ = ALL_ATTENTION_FUNCTIONS["sdpa"](torch.nn.Module(), *tensors, None)
    assert attended.shape == (1, n_keys, 2, 4)
    assert bool(fused) == is_fused
