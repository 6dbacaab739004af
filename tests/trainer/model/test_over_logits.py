"""Losses and gradients at counted positions, in pieces, are those of all logits at once."""

import inspect
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoModelForCausalLM, PreTrainedModel

from tests.trainer import tiny
from tests.trainer.architectures import ARCHITECTURES, make_model
from trainer.data.tokenised_split import IGNORED, Batch, TokenisedSplit, next_tokens
from trainer.model import over_logits as over_logits_module
from trainer.model.device import Precision
from trainer.model.forward import forward
from trainer.model.over_logits import over_logits

LENGTHS, WIDTH = (8, 11, 11), 32
AFTER_THE_HEAD: dict[str, dict[str, Any]] = {
    "cohere": {"logit_scale": 3.0},
    "gemma2": {"final_logit_softcapping": 0.5, "num_key_value_heads": 1, "head_dim": 16},
    "granite": {"logits_scaling": 3.0},
}
"""What makes models change logits that their head has put out."""
SWIFT = (*AFTER_THE_HEAD, "gpt2", "llama", "opt", "phi")
"""Tied and untied heads, one with a bias, and a body within the base model."""
EVERY = [
    pytest.param(name, marks=() if name in SWIFT else pytest.mark.slow)
    for name in sorted({*ARCHITECTURES["causal-lm"], *AFTER_THE_HEAD})
]


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> int:
    """Seven positions at once, and fewer in the last piece."""
    monkeypatch.setattr(over_logits_module, "LOGITS", 7 * tiny.VOCABULARY_SIZE)
    return over_logits_module.LOGITS


def make_decoder(architecture: str, **overrides: Any) -> PreTrainedModel:
    options = AFTER_THE_HEAD.get(architecture, {}) | overrides
    return make_model(architecture, AutoModelForCausalLM, use_cache=False, **options).eval()


def batch_of() -> Batch:
    """Rows with padding and without, of which about two in three tokens count."""
    generator = np.random.default_rng(0)
    starts_N1 = np.cumsum([0, *LENGTHS])
    tokens_S = generator.integers(4, tiny.VOCABULARY_SIZE, starts_N1[-1], dtype=np.int32)
    targets_S = np.where(generator.random(starts_N1[-1]) < 0.3, IGNORED, tokens_S)
    targets_S[starts_N1[:-1]] = IGNORED
    split = TokenisedSplit(
        tokens_S=tokens_S,
        starts_N1=starts_N1,
        targets=targets_S,
        has_token_targets=True,
        are_next_tokens=True,
        pad_id=0,
        truncated_rows=0,
    )
    return split.collate(np.arange(len(LENGTHS)), tiny.CPU)


def n_counted(batch: Batch) -> int:
    return int((batch.targets != IGNORED).sum())


def loss_of(logits: torch.Tensor, tokens: torch.Tensor, label_smoothing: float = 0.0) -> torch.Tensor:
    return functional.cross_entropy(
        logits, tokens, ignore_index=IGNORED, reduction="sum", label_smoothing=label_smoothing
    )


def gradients_of(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    return {name: one.grad for name, one in model.named_parameters() if one.grad is not None}


def whole(model: PreTrainedModel, precision: Precision, **options: float) -> tuple[float, dict[str, torch.Tensor]]:
    """Loss and gradients by all logits at once."""
    batch = batch_of()
    logits = forward(model, batch, precision)
    loss = loss_of(logits[:, :-1].flatten(0, 1), batch.targets[:, 1:].flatten(), **options)
    torch.autograd.backward(loss)
    return loss.item(), gradients_of(model)


def in_pieces(
    model: PreTrainedModel, precision: Precision, batch: Batch | None = None, **options: float
) -> tuple[list[float], dict[str, torch.Tensor]]:
    """Losses of each piece, and gradients."""

    def learn(logits: torch.Tensor, tokens: torch.Tensor) -> float:
        loss = loss_of(logits, tokens, **options)
        torch.autograd.backward(loss)
        return loss.item()

    return over_logits(learn, model, batch or batch_of(), precision), gradients_of(model)


def check_equal(make: Callable[[], PreTrainedModel], precision: Precision, **options: float) -> int:
    """Compare both ways, and return the number of pieces."""
    loss, gradients = whole(make(), precision, **options)
    losses, found = in_pieces(make(), precision, **options)
    assert sum(losses) == pytest.approx(loss, rel=1e-6)
    assert gradients.keys() == found.keys() != set()
    for name, gradient in gradients.items():
        # In bf16 the pieces of a gradient are rounded before they are added
        share = 1e-5 if precision == "fp32" else 2e-2
        torch.testing.assert_close(found[name], gradient, rtol=0, atol=share * max(1e-3, float(gradient.abs().max())))
    return len(losses)


@pytest.mark.parametrize("architecture", EVERY)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_every_architecture_learns_the_same_in_pieces(
    small_pieces: int, architecture: str, precision: Precision
) -> None:
    assert check_equal(lambda: make_decoder(architecture), precision) == math.ceil(n_counted(batch_of()) / 7) > 2


def test_smoothed_labels_are_smoothed_in_pieces(small_pieces: int) -> None:
    plain, _ = whole(make_decoder("llama"), "fp32")
    check_equal(lambda: make_decoder("llama"), "fp32", label_smoothing=0.3)
    assert whole(make_decoder("llama"), "fp32", label_smoothing=0.3)[0] != pytest.approx(plain, rel=1e-3)


@pytest.mark.parametrize("frozen", ["body", "head", "tied body"])
def test_what_is_frozen_gets_no_gradient(small_pieces: int, frozen: str) -> None:
    def make() -> PreTrainedModel:
        model = make_decoder("llama", tie_word_embeddings=frozen == "tied body")
        model.requires_grad_(frozen != "body")
        model.get_output_embeddings().requires_grad_(frozen != "head")
        return model

    check_equal(make, "fp32")


@pytest.mark.parametrize("architecture", ["bart", "opt", "gemma2"])
def test_an_evaluation_has_the_losses_of_counted_positions(small_pieces: int, architecture: str) -> None:
    model = make_decoder(architecture)
    batch = batch_of()
    with torch.no_grad():
        pieces = over_logits(
            lambda logits, tokens: functional.cross_entropy(logits, tokens, reduction="none"),
            model,
            batch,
            "fp32",
        )
        logits = forward(model, batch, "fp32")
    counted_BT = batch.targets[:, 1:] != IGNORED
    expected = functional.cross_entropy(logits[:, :-1][counted_BT], batch.targets[:, 1:][counted_BT], reduction="none")
    torch.testing.assert_close(torch.cat(pieces), expected)


def test_more_targets_than_count_change_nothing(small_pieces: int) -> None:
    losses, gradients = in_pieces(make_decoder("llama"), "fp32")
    batch = batch_of()
    assert batch.next_N is not None
    is_uncounted = next_tokens(batch.targets) == IGNORED
    more_N = torch.cat([batch.next_N, is_uncounted.nonzero().flatten()[:5]])
    more_losses, more_gradients = in_pieces(make_decoder("llama"), "fp32", replace(batch, next_N=more_N))
    assert sum(more_losses) == pytest.approx(sum(losses))
    torch.testing.assert_close(more_gradients, gradients)


class _Logits(TorchDispatchMode):
    """Notes the most logits that any operation puts out at once."""

    most = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for one in out if isinstance(out, tuple | list) else [out]:
            shape = one.shape if isinstance(one, torch.Tensor) else ()
            if shape[-1:] == (tiny.VOCABULARY_SIZE,) and shape[:-1] not in {(), (WIDTH,)}:  # the head's own parameters
                self.most = max(self.most, one.numel())
        return out


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_there_are_never_more_logits_than_one_piece_has(small_pieces: int, precision: Precision) -> None:
    seen: list[StorageWeakRef] = []

    def check_gone(_head: Any, _args: Any) -> None:
        assert all(earlier.expired() for earlier in seen)

    def learn(logits: torch.Tensor, tokens: torch.Tensor) -> None:
        seen.append(StorageWeakRef(logits.untyped_storage()))
        torch.autograd.backward(loss_of(logits, tokens))

    model = make_decoder("llama")
    model.get_output_embeddings().register_forward_pre_hook(check_gone)
    with _Logits() as counter:
        over_logits(learn, model, batch_of(), precision)
    assert len(seen) > 2
    assert 0 < counter.most <= small_pieces


def test_a_model_that_cannot_tell_single_positions_tells_all(
    small_pieces: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = type(make_decoder("llama")).forward

    def plain(model: PreTrainedModel, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Any:
        return real(model, input_ids=input_ids, attention_mask=attention_mask)

    monkeypatch.setattr(type(make_decoder("llama")), "forward", plain)
    assert "logits_to_keep" not in inspect.signature(plain).parameters
    assert check_equal(lambda: make_decoder("llama"), "fp32") == 1


def test_a_model_that_passes_its_decoder_by_tells_all(small_pieces: int, monkeypatch: pytest.MonkeyPatch) -> None:
    idle = make_decoder("llama").base_model
    monkeypatch.setattr(type(make_decoder("llama")), "get_decoder", lambda _model: idle)
    assert check_equal(lambda: make_decoder("llama"), "fp32") == 1
