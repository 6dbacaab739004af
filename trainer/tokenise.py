"""Texts into token ids, once per study.

N = rows, S = tokens of all rows together.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from trainer.data import Rows


@dataclass(frozen=True, kw_only=True)
class TokenisedSplit:
    """One split as token ids, without padding: a tenth of the memory of lists."""

    tokens_S: NDArray[np.int32]
    """The rows' ids, special tokens included, one row after another."""
    starts_N1: NDArray[np.int64]
    """Where each row starts in ``tokens_S``, and the end of the last."""
    labels_N: NDArray[np.int64]
    """Positions in the class names."""
    pad_id: int
    truncated_rows: int

    def __len__(self) -> int:
        return len(self.labels_N)

    @cached_property
    def lengths_N(self) -> NDArray[np.int64]:
        """Tokens of each row."""
        return np.diff(self.starts_N1)

    def row(self, row: int) -> NDArray[np.int32]:
        """Token ids of one row, counted from 0."""
        return self.tokens_S[self.starts_N1[row] : self.starts_N1[row + 1]]


def tokenise(
    rows: Rows, tokenizer: PreTrainedTokenizerBase, class_names: tuple[str, ...], max_length: int
) -> TokenisedSplit:
    """Turn ``rows`` into at most ``max_length`` tokens each, special tokens kept."""
    ids = _encode(tokenizer, rows.texts)
    too_long = [row for row, ids_T in enumerate(ids) if len(ids_T) > max_length]
    if too_long:
        shortened = _encode(tokenizer, [rows.texts[row] for row in too_long], truncation=True, max_length=max_length)
        for row, ids_T in zip(too_long, shortened, strict=True):
            ids[row] = ids_T
    positions = {name: position for position, name in enumerate(class_names)}
    return TokenisedSplit(
        tokens_S=np.concatenate([np.asarray(ids_T, dtype=np.int32) for ids_T in ids]),
        starts_N1=np.cumsum([0, *map(len, ids)], dtype=np.int64),
        labels_N=np.asarray([positions[label] for label in rows.labels], dtype=np.int64),
        pad_id=tokenizer.pad_token_id,
        truncated_rows=len(too_long),
    )


def _encode(tokenizer: PreTrainedTokenizerBase, texts: list[str], **truncation: bool | int) -> list[list[int]]:
    # verbose=False: texts longer than the model are expected here, and counted
    encoded = tokenizer(texts, return_attention_mask=False, return_token_type_ids=False, verbose=False, **truncation)
    ids: list[list[int]] = encoded["input_ids"]
    return ids
