"""The forward pass of a model over a batch.

In bf16 only the body multiplies in it. Heads compute in fp32: bf16 keeps 8 bits of a number, so logits near 100 would
be rounded to halves. A vocabulary's head, which is as large as a small body, reads bf16 and adds up in fp32.

B = rows of a batch, C = classes, T = tokens of its longest row, V = vocabulary, D = width of a hidden state,
N = hidden states, S = tokens of all rows together.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from transformers import PreTrainedModel
from transformers.utils import ModelOutput

from trainer.data.tokenised_split import Batch, Split
from trainer.model.device import Precision
from trainer.model.device_memory import is_out_of_memory
from trainer.model.dropout_masks import register_attention


def forward(model: PreTrainedModel, batch: Batch, precision: Precision) -> torch.Tensor:
    """Return the logits of a batch in fp32, whatever the model's body computes in: ``[B, C]``, or ``[B, T, C]`` for
    each token."""
    register_attention()
    if precision == "fp32":
        logits: torch.Tensor = model(**batch.inputs).logits
        return logits
    head = model.get_output_embeddings()
    body = body_of(model)
    with replaced(body, _in_bf16(body.forward, batch.targets.device.type)):
        if type(head) is nn.Linear:
            with replaced(head, lambda hidden: _vocabulary_logits(head, hidden)):
                logits = model(**batch.inputs).logits
        else:
            logits = model(**batch.inputs).logits
    return logits


def body_of(model: PreTrainedModel) -> PreTrainedModel:
    """Return the part of ``model`` that puts out hidden states, which its head reads.

    Some language models call the decoder within their base model, and never the base model itself.
    """
    predicts_tokens = model.get_output_embeddings() is not None
    body: PreTrainedModel = model.get_decoder() if predicts_tokens else model.base_model
    return body


def without_padding(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Return the logits of tokens alone, ``[S, C]``, where there are some for each position of a text; others as they
    are. Nothing reads what a model puts out for padding."""
    mask = batch.inputs.get("attention_mask")
    has_tokens = mask is not None and logits.ndim == 3 and logits.shape[:2] == mask.shape
    return logits[mask == 1] if has_tokens else logits


@torch.no_grad()
def bf16_problem(model: PreTrainedModel, split: Split) -> str | None:
    """Return why ``model`` cannot compute in bf16, in torch's words; ``None`` if it can.

    The first version of DeBERTa masks by a number that bf16 does not have.

    Args:
        split: rows of which the shortest is tried.
    """
    try:
        forward(model.eval(), split.collate(np.array([split.lengths_N.argmin()]), model.device), "bf16")
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        return str(error).partition("\n")[0]
    return None


@contextmanager
def replaced(module: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    """Let ``module`` compute by ``forward`` for a while, and then as before, which another may have replaced, too."""
    before = vars(module).get("forward")
    module.forward = forward
    try:
        yield
    finally:
        if before is None:
            del module.forward
        else:
            module.forward = before


def _in_bf16(forward: Callable[..., Any], device_type: str) -> Callable[..., Any]:
    """Return what multiplies in bf16 as ``forward`` would in fp32, and puts out fp32."""

    def in_bf16(*args: Any, **kwargs: Any) -> Any:
        with torch.autocast(device_type, dtype=torch.bfloat16):
            output = forward(*args, **kwargs)
        if isinstance(output, ModelOutput):
            for name, value in output.items():
                output[name] = _full(value)
            return output
        return tuple(_full(value) for value in output)

    return in_bf16


def _full(value: Any) -> Any:
    return value.float() if isinstance(value, torch.Tensor) and value.is_floating_point() else value


def _vocabulary_logits(head: nn.Linear, hidden: torch.Tensor) -> torch.Tensor:
    with torch.autocast(hidden.device.type, enabled=False):
        product: torch.Tensor = _WideProduct.apply(  # type: ignore[no-untyped-call]
            hidden.bfloat16().flatten(0, -2), head.weight.bfloat16()
        )
        logits = product.view(*hidden.shape[:-1], -1)
        return logits if head.bias is None else logits + head.bias


class _WideProduct(torch.autograd.Function):
    """Hidden states ``[N, D]`` times weights ``[V, D]``, both in bf16, as logits ``[N, V]`` in fp32.

    The gradients are those of autocast: products of bf16 numbers, put out in bf16.
    """

    @staticmethod
    def forward(ctx: Any, hidden_ND: torch.Tensor, weight_VD: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(hidden_ND, weight_VD)
        if hidden_ND.is_cuda:
            return torch.mm(hidden_ND, weight_VD.t(), out_dtype=torch.float32)
        return functional.linear(hidden_ND.float(), weight_VD.float())  # the same numbers, in twice the memory

    @staticmethod
    def backward(ctx: Any, gradient_NV: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        hidden_ND, weight_VD = ctx.saved_tensors
        narrow_NV = gradient_NV.bfloat16()
        of_hidden, of_weight = ctx.needs_input_grad
        return (
            narrow_NV @ weight_VD if of_hidden else None,
            narrow_NV.t() @ hidden_ND if of_weight else None,
        )
