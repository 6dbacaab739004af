"""In bf16 the body multiplies with 8 bits, and what the heads put out is not rounded to them."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from transformers import (
    AttentionInterface,
    AutoModelForCausalLM,
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    PreTrainedModel,
)
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from tests.trainer import tiny
from tests.trainer.architectures import make_model
from trainer.data.tokenised_split import Batch
from trainer.model.forward import forward


def batch_of(n_rows: int = 4, n_tokens: int = 12) -> Batch:
    ids_BT = torch.randint(4, 40, (n_rows, n_tokens), generator=torch.Generator().manual_seed(0))
    inputs = {"input_ids": ids_BT, "attention_mask": torch.ones_like(ids_BT)}
    return Batch(inputs=inputs, targets=torch.zeros(n_rows, dtype=torch.int64), rows_B=torch.arange(n_rows))


def images_of(n_rows: int = 4) -> Batch:
    shape = (n_rows, 3, tiny.IMAGE_SIZE, tiny.IMAGE_SIZE)
    pixels = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    return Batch(
        inputs={"pixel_values": pixels}, targets=torch.zeros(n_rows, dtype=torch.int64), rows_B=torch.arange(n_rows)
    )


def dtypes_of(model: PreTrainedModel, batch: Batch) -> dict[bool, set[torch.dtype]]:
    """What linear layers put out, of the body (``True``) and of the head."""
    inside = set(model.base_model.modules())
    found: dict[bool, set[torch.dtype]] = {True: set(), False: set()}
    for module in model.modules():
        if isinstance(module, nn.Linear):
            module.register_forward_hook(lambda module, _args, output: found[module in inside].add(output.dtype))
    forward(model, batch, "bf16")
    return found


@torch.no_grad()
def test_bf16_answers_a_number_near_100_to_two_digits() -> None:
    model = tiny.make_family("bert", num_labels=1).eval()
    nn.init.constant_(model.classifier.bias, 108.07 - float(forward(model, batch_of(1), "fp32")))
    assert float(forward(model, batch_of(1), "fp32")) == pytest.approx(108.07, abs=1e-4)
    assert float(forward(model, batch_of(1), "bf16")) == pytest.approx(108.07, abs=0.02)


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_bodies_multiply_in_bf16_and_heads_in_fp32(family: str) -> None:
    auto_class = AutoModelForImageClassification if family == "vit" else AutoModelForSequenceClassification
    model = tiny.make_family(family, auto_class).eval()
    found = dtypes_of(model, images_of() if family == "vit" else batch_of())
    assert torch.bfloat16 in found[True] or family == "gpt2"  # whose body has layers of another class
    assert found[False] == {torch.float32}


@pytest.mark.parametrize("architecture", ["bart", "opt"])
def test_a_decoder_within_a_base_model_multiplies_in_bf16(architecture: str) -> None:
    model = make_model(architecture, AutoModelForCausalLM).eval()
    assert torch.bfloat16 in dtypes_of(model, batch_of())[True]


@pytest.mark.parametrize("family", ["bert", "llama"])
def test_a_processor_attends_in_fp32_whoever_made_the_model(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    attend = functional.scaled_dot_product_attention
    seen: list[torch.Tensor | None] = []

    def watched(*tensors: torch.Tensor, **options: Any) -> torch.Tensor:
        seen.extend([*tensors, options.get("attn_mask")])
        return attend(*tensors, **options)

    monkeypatch.setattr(functional, "scaled_dot_product_attention", watched)
    AttentionInterface.register("sdpa", sdpa_attention_forward)  # as in a process that has trained nothing
    forward(tiny.make_family(family).eval(), batch_of(), "bf16")
    assert seen
    assert {one.dtype for one in seen if one is not None} <= {torch.float32, torch.bool}


@pytest.mark.parametrize("family", tiny.DECODERS)
def test_a_vocabulary_head_reads_bf16_and_puts_out_fp32(family: str) -> None:
    model = tiny.make_family(family, AutoModelForCausalLM).eval()
    hidden: list[torch.Tensor] = []
    head = model.get_output_embeddings()
    head.register_forward_pre_hook(lambda _module, args: hidden.append(args[0]))
    logits = forward(model, batch_of(), "bf16")
    expected = hidden[0].bfloat16().float() @ head.weight.bfloat16().float().T
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, expected)
    assert not torch.equal(logits, logits.bfloat16().float())


@pytest.mark.parametrize("trains", [True, False])
def test_the_gradients_of_a_vocabulary_head_are_those_of_fp32(trains: bool) -> None:
    gradients = []
    for precision in ("fp32", "bf16"):
        model = tiny.make_family("llama", AutoModelForCausalLM).eval()
        model.get_output_embeddings().requires_grad_(trains)
        forward(model, batch_of(), precision).square().mean().backward()  # type: ignore[arg-type]
        gradients.append({name: one.grad for name, one in model.named_parameters() if one.grad is not None})
    full, half = gradients
    assert full.keys() == half.keys()
    assert ("lm_head.weight" in full) == trains
    for name, gradient in full.items():
        assert gradient is not None
        torch.testing.assert_close(half[name], gradient, rtol=0.05, atol=0.05 * float(gradient.abs().max()))


def test_a_failed_pass_leaves_the_model_as_it_was() -> None:
    model = tiny.make_family("llama", AutoModelForCausalLM).eval()
    before = forward(model, batch_of(), "fp32")

    def fail(*_: Any) -> None:
        raise RuntimeError("no memory")

    handle = model.get_output_embeddings().register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match="no memory"):
        forward(model, batch_of(), "bf16")
    handle.remove()
    assert not torch.is_autocast_enabled("cpu")
    assert torch.equal(forward(model, batch_of(), "fp32"), before)
