"""Turns texts into token ids, once per study.

N = rows, S = tokens of all rows together, T = tokens of one row.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from trainer.data.tokenised_split import TokenisedSplit


def encode_texts(
    texts: list[str], targets: NDArray[Any], tokenizer: PreTrainedTokenizerBase, max_length: int
) -> TokenisedSplit:
    """Turn ``texts`` into a split of at most ``max_length`` tokens a text, special tokens kept.

    Args:
        targets: one for each text, ``[N]`` or ``[N, C]``.
    """
    ids = encode(tokenizer, texts)
    too_long = [row for row, ids_T in enumerate(ids) if len(ids_T) > max_length]
    if too_long:
        shortened = encode(tokenizer, [texts[row] for row in too_long], truncation=True, max_length=max_length)
        for row, ids_T in zip(too_long, shortened, strict=True):
            ids[row] = ids_T
    nothing = [_stand_in(tokenizer)]
    return pack([ids_T or nothing for ids_T in ids], targets, tokenizer, truncated_rows=len(too_long))


def _stand_in(tokenizer: PreTrainedTokenizerBase) -> int:
    """Return the token that stands where a text has none, as an empty one of GPT-2: a model must read something."""
    first, last = tokenizer.bos_token_id, tokenizer.eos_token_id
    token: int = next(token for token in (first, last, tokenizer.pad_token_id) if token is not None)
    return token


def encode(tokenizer: PreTrainedTokenizerBase, texts: list[str], **options: bool | int) -> list[list[int]]:
    """Return the token ids of each text, of which there may be none."""
    # verbose=False: texts longer than the model are expected here, and counted
    encoded = tokenizer(texts, return_attention_mask=False, return_token_type_ids=False, verbose=False, **options)
    ids: list[list[int]] = encoded["input_ids"]
    return ids


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
    ids: list[list[int]], labels: list[list[int]], tokenizer: PreTrainedTokenizerBase, *, truncated_rows: int
) -> TokenisedSplit:
    """Return a split of the rows ``ids``, put one after another, in which every token has a label, which may be
    ``IGNORED``."""
    return TokenisedSplit(
        tokens_S=np.concatenate([np.asarray(ids_T, dtype=np.int32) for ids_T in ids]),
        starts_N1=np.cumsum([0, *map(len, ids)], dtype=np.int64),
        targets=np.concatenate([np.asarray(labels_T, dtype=np.int64) for labels_T in labels]),
        has_token_targets=True,
        pad_id=tokenizer.pad_token_id,
        truncated_rows=truncated_rows,
    )
