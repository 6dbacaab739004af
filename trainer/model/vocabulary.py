"""Trains only those rows of the input embeddings whose tokens a study has.

The row of a token that never occurs gets no gradient. AdamW's moments of it stay 0, so nothing moves it but weight
decay, which multiplies all such rows by the same numbers. A trial therefore trains the rows that occur and, behind
them, a row of ones that no token reads: AdamW shrinks it as it would have shrunk the others, at the same steps and
rates, and what is left of it is the factor by which they are multiplied when the model is saved. This leaves out most
of what each step of a small model would have to clear, measure and move.

V = tokens of the vocabulary, K = tokens that occur, B = rows of a batch, T = tokens of its longest row, D = width.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from transformers import PreTrainedModel

from trainer.data.tokenised_split import Split, TokenisedSplit
from trainer.model.forward import forward, without_padding
from trainer.model.pretrained import Pretrained, input_embeddings


def find_seen_tokens(pretrained: Pretrained, splits: Sequence[Split]) -> NDArray[np.int64] | None:
    """Return the tokens ``[K]`` that a trial on ``splits`` can read, in ascending order; ``None`` where the embeddings
    must be trained whole.

    That is where the model has no table of tokens, or the checkpoint holds none; where the same parameter is something
    else, too, such as the output layer; and where the model reads more of the table than the rows of a text, which
    shows in what it puts out without the others.
    """
    embeddings = input_embeddings(pretrained.model)
    tokenised = [split for split in splits if isinstance(split, TokenisedSplit)]
    if not tokenised or not isinstance(embeddings, nn.Embedding):
        return None
    names = _names(pretrained.model, embeddings.weight)
    if len(names) != 1 or names[0] in pretrained.missing:
        return None
    config = pretrained.model.config.get_text_config().to_dict()
    # What a model puts in by itself, such as the token that a decoder starts with, is one of these
    special = {token for name, token in config.items() if name.endswith("_token_id") and isinstance(token, int)}
    special |= {*pretrained.processor.all_special_ids, *(split.pad_id for split in tokenised)}
    special |= set() if embeddings.padding_idx is None else {embeddings.padding_idx}
    special_K = [token for token in special if 0 <= token < len(embeddings.weight)]
    seen_K = np.unique(np.concatenate([special_K, *(split.tokens_S for split in tokenised)])).astype(np.int64)
    if len(seen_K) + 1 >= len(embeddings.weight):
        return None
    return seen_K if _is_enough(pretrained.model, seen_K, tokenised[0]) else None


def leave_out_unseen(model: PreTrainedModel, seen_K: NDArray[np.int64]) -> None:
    """Shrink the input embeddings of ``model`` to the rows of ``seen_K`` and a row of ones, if they train.

    It is still called with token ids, and the parameter is still the same object, for whoever holds it.
    """
    embeddings = input_embeddings(model)
    weight = embeddings.weight
    if not weight.requires_grad:
        return
    seen = torch.from_numpy(seen_K).to(weight.device)
    # A token that was not seen is behind the last row, so that looking it up fails
    rows_V = torch.full((len(weight),), len(seen_K) + 1, device=weight.device)
    rows_V[seen] = torch.arange(len(seen_K), device=weight.device)
    weight.data = torch.cat([weight.data[seen], weight.new_ones(1, weight.shape[1])])
    embeddings.num_embeddings = len(weight)
    if embeddings.padding_idx is not None:
        embeddings.padding_idx = int(np.searchsorted(seen_K, embeddings.padding_idx))
    embeddings.register_buffer("rows_V", rows_V, persistent=False)
    embeddings.register_forward_pre_hook(_rows_of_tokens)


def with_unseen(trained: Mapping[str, torch.Tensor], pretrained: Pretrained) -> dict[str, torch.Tensor]:
    """Return the parameters ``trained`` by a trial of ``pretrained``, with the embeddings of all tokens."""
    if pretrained.seen_tokens is None:
        return dict(trained)
    (name,) = _names(pretrained.model, input_embeddings(pretrained.model).weight)
    if name not in trained:
        return dict(trained)
    *_, decay_D = rows = trained[name]
    whole_VD = pretrained.model.get_parameter(name).detach() * decay_D
    whole_VD[torch.from_numpy(pretrained.seen_tokens)] = rows[:-1]
    return {**trained, name: whole_VD}


def _names(model: PreTrainedModel, wanted: torch.Tensor) -> list[str]:
    return [name for name, one in model.named_parameters(remove_duplicate=False) if one is wanted]


def _rows_of_tokens(embeddings: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
    tokens_BT, *others = args
    return (embeddings.get_buffer("rows_V")[tokens_BT], *others)


@torch.no_grad()
def _is_enough(model: PreTrainedModel, seen_K: NDArray[np.int64], split: TokenisedSplit) -> bool:
    """Whether ``model`` puts out the same for a short row and a padded one with no other rows than ``seen_K``."""
    batch = split.collate(np.unique(split.lengths_N, return_index=True)[1][:2], model.device)
    weight = input_embeddings(model).weight
    shared = {id(one): one for one in (*model.parameters(), *model.buffers()) if one is not weight}
    shrunk = copy.deepcopy(model.eval(), shared)
    leave_out_unseen(shrunk, seen_K)
    try:
        found = forward(shrunk, batch, "fp32")
    except (IndexError, RuntimeError, ValueError):
        return False
    return torch.equal(without_padding(found, batch), without_padding(forward(model, batch, "fp32"), batch))
