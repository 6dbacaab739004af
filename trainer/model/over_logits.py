"""Computes the logits of a batch: those of a language model only where they count, and few at once.

A vocabulary has so many logits that those of a batch would take more memory than all of the model's body, and much of
its time. So the body runs once over a batch; what comes after it, the head and whatever an architecture does to logits,
is done by the model itself to the hidden states of some counted positions after the others, which take the place of
what the body puts out.

B = rows of a batch, T = tokens of its longest row, V = vocabulary, D = width of a hidden state, N = counted positions.
"""

import inspect
import math
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from transformers import PreTrainedModel
from transformers.utils import ModelOutput

from trainer.data.tokenised_split import Batch, next_tokens
from trainer.model.device import Precision
from trainer.model.forward import body_of, forward, replaced

LOGITS = 2**26
"""Number of logits at once, at most: 256 MB in fp32, of which training holds about four times as many."""

_Result = TypeVar("_Result")


def over_logits(
    work: Callable[[torch.Tensor, torch.Tensor], _Result], model: PreTrainedModel, batch: Batch, precision: Precision
) -> list[_Result]:
    """Call ``work`` with the logits of ``batch`` and their targets, and return what it returns: once, or for some
    counted positions after the others where the targets are next tokens.

    Logits and targets are those of ``forward``, or ``[N, V]`` and ``[N]``. Shapes follow from those of the batch alone,
    and nothing waits for the device. An architecture that cannot put out the logits of single positions computes all
    of them at once.

    Args:
        work: if the model is to learn, it calls ``backward`` on its loss. In pieces that reaches only the head; the
            gradients of the body follow when all positions are done.
    """
    if batch.next_N is None:
        return [work(forward(model, batch, precision), batch.targets)]
    tokens_N = next_tokens(batch.targets).index_select(0, batch.next_N)
    if not _reads_single_positions(model):
        return [work(_at(forward(model, batch, precision), batch.next_N), tokens_N)]
    vocabulary: int = model.config.get_text_config().vocab_size
    n_pieces = math.ceil(len(tokens_N) * vocabulary / LOGITS)
    size = math.ceil(len(tokens_N) / n_pieces)
    body = body_of(model)
    hidden = _HiddenStates(body.forward, batch.next_N, size)
    results = []
    with replaced(body, hidden.put_out):
        for tokens in torch.split(tokens_N, size):
            logits = forward(model, batch, precision)
            if not hidden.is_read:  # the model has another body than it says
                return [work(_at(logits, batch.next_N), tokens_N)]
            results.append(work(logits[0], tokens))
            del logits  # before there are more
    hidden.backward()
    return results


def _reads_single_positions(model: PreTrainedModel) -> bool:
    """Whether logits of a position are a function of its hidden states, which those models promise that can be asked
    for the logits of some positions."""
    return "logits_to_keep" in inspect.signature(type(model).forward).parameters


def _at(values: torch.Tensor, next_N: torch.Tensor) -> torch.Tensor:
    """Of values ``[B, T, …]`` those at ``next_N`` of the flattened batch."""
    return values.flatten(0, 1).index_select(0, next_N)


class _HiddenStates:
    """Takes the place of a body, which it runs when it is called first; each call puts out the hidden states of further
    positions, as one row."""

    def __init__(self, forward: Callable[..., Any], next_N: torch.Tensor, size: int) -> None:
        self._forward = forward
        self._next_N = next_N
        self._size = size
        self._output: ModelOutput | None = None
        self._counted_ND = torch.empty(0)
        self._pieces: list[torch.Tensor] = []
        self._n_put_out = 0

    @property
    def is_read(self) -> bool:
        """Whether the body has been called."""
        return self._output is not None

    def put_out(self, *args: Any, **kwargs: Any) -> ModelOutput:
        if self._output is None:
            self._output = self._forward(*args, **kwargs)
            self._counted_ND = _at(self._output["last_hidden_state"], self._next_N)
            self._pieces = [
                piece.detach().requires_grad_(self._counted_ND.requires_grad)
                for piece in torch.split(self._counted_ND, self._size)
            ]
        self._output["last_hidden_state"] = self._pieces[self._n_put_out][None]
        self._n_put_out += 1
        return self._output

    def backward(self) -> None:
        """Pass on to the body the gradients that its hidden states have got."""
        if self._counted_ND.requires_grad:
            gradients = [piece.grad for piece in self._pieces if piece.grad is not None]
            torch.autograd.backward(self._counted_ND, torch.cat(gradients))
