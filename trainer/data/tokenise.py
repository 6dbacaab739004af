"""Turns texts into token ids, once per study.

N = rows, S = tokens of all rows together, T = tokens of one row.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from trainer.data.tokenised_split import TokenisedSplit

Text = str | tuple[str, str]
"""A text, or a text and its pair; all texts of a split are one or the other."""


def encode_texts(
    texts: list[Text], targets: NDArray[Any], tokenizer: PreTrainedTokenizerBase, max_length: int
) -> TokenisedSplit:
    """Turn ``texts`` into a split of at most ``max_length`` tokens a text or pair, special tokens kept.

    Of a pair the text that is longer at the time loses its last token until both fit (``longest_first``).

    Args:
        targets: one for each text, ``[N]`` or ``[N, C]``.
    """
    encoded = _encode_inputs(tokenizer, texts)
    too_long = [row for row, ids_T in enumerate(encoded["input_ids"]) if len(ids_T) > max_length]
    if too_long:
        shortened = _encode_inputs(tokenizer, [texts[row] for row in too_long], truncation=True, max_length=max_length)
        for name, rows in shortened.items():
            for row, values_T in zip(too_long, rows, strict=True):
                encoded[name][row] = values_T
    nothing = [_stand_in(tokenizer)]
    split = pack([ids_T or nothing for ids_T in encoded["input_ids"]], targets, tokenizer, truncated_rows=len(too_long))
    if "token_type_ids" not in encoded:
        return split
    return replace(
        split, types_S=np.concatenate([types_T or [0] for types_T in encoded["token_type_ids"]]).astype(np.int8)
    )


def _stand_in(tokenizer: PreTrainedTokenizerBase) -> int:
    """Return the token that stands where a text has none, as an empty one of GPT-2: a model must read something."""
    first, last = tokenizer.bos_token_id, tokenizer.eos_token_id
    token: int = next(token for token in (first, last, tokenizer.pad_token_id) if token is not None)
    return token


def encode(tokenizer: PreTrainedTokenizerBase, texts: list[str], **options: bool | int) -> list[list[int]]:
    """Return the token ids of each text, of which there may be none."""
    return _encode_inputs(tokenizer, texts, **options)["input_ids"]


def _encode_inputs(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[Text], **options: bool | int
) -> dict[str, list[list[int]]]:
    """Return ``input_ids`` of each text, and of pairs ``token_type_ids`` if the tokenizer tells the two apart."""
    has_pairs = isinstance(texts[0], tuple)
    columns = [list(column) for column in zip(*texts, strict=True)] if has_pairs else [list(texts)]
    has_types = has_pairs and "token_type_ids" in tokenizer.model_input_names
    # verbose=False: texts longer than the model are expected here, and counted
    encoded = tokenizer(
        *columns, return_attention_mask=False, return_token_type_ids=has_types, verbose=False, **options
    )
    return {name: encoded[name] for name in ("input_ids", *["token_type_ids"] * has_types)}


def pack(
    ids: list[list[int]], targets: NDArray[Any], tokenizer: PreTrainedTokenizerBase, *, truncated_rows: int
) -> TokenisedSplit:
    """Return a split of the rows ``ids``, put one after another; ``targets`` are one for each row."""
    return TokenisedSplit(
        tokens_S=np.concatenate([np.asarray(ids_T, dtype=np.int32) for ids_T in ids]),
        starts_N1=np.cumsum([0, *map(len, ids)], dtype=np.int64),
        targets=targets,
        pad_id=tokenizer.pad_token_id,
        truncated_rows=truncated_rows,
    )


def pack_labelled(
    ids: list[list[int]],
    labels: list[list[int]],
    tokenizer: PreTrainedTokenizerBase,
    *,
    truncated_rows: int,
    are_next_tokens: bool = False,
) -> TokenisedSplit:
    """Return a split of the rows ``ids``, put one after another, in which every token has a label, which may be
    ``IGNORED``.

    Args:
        are_next_tokens: whether a label is the token itself, to be predicted from those before it.
    """
    return TokenisedSplit(
        tokens_S=np.concatenate([np.asarray(ids_T, dtype=np.int32) for ids_T in ids]),
        starts_N1=np.cumsum([0, *map(len, ids)], dtype=np.int64),
        targets=np.concatenate([np.asarray(labels_T, dtype=np.int64) for labels_T in labels]),
        has_token_targets=True,
        are_next_tokens=are_next_tokens,
        pad_id=tokenizer.pad_token_id,
        truncated_rows=truncated_rows,
    )
