"""Checks that a tokenizer knows the texts of a study: one without its vocabulary turns all of them into noise.

S = tokens of all rows together.
"""

from collections.abc import Hashable, Sequence

import numpy as np
from transformers import PreTrainedTokenizerBase

from trainer.data.tokenised_split import TokenisedSplit
from trainer.errors import ConfigError

_MOST_UNKNOWN = 0.5
"""Share of unknown tokens above which a study is refused: the model would read less than it misses."""

_MANY_UNKNOWN = 0.2
"""Share of unknown tokens from which on there is a warning."""


def check_tokens(inputs: Sequence[Hashable], split: TokenisedSplit, tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Return warnings of unknown tokens in the training rows, and of special tokens written out in their texts.

    Args:
        inputs: the rows before they were tokenised.
        split: the same rows as tokens.

    Raises:
        ConfigError: most tokens are unknown, or rows that differ all become the same tokens.
    """
    share = _unknown_share(split, tokenizer)
    if share > _MOST_UNKNOWN:
        raise ConfigError(
            f"model.name: its tokenizer does not know {share:.0%} of the tokens of the training texts; take a model "
            "for their language, and check that the tokenizer's files are those that the model was trained with"
        )
    if len(set(inputs)) > 1 and _are_alike(split):
        raise ConfigError(
            f"model.name: its tokenizer turns all {len(split)} training texts into the same {split.lengths_N[0]} "
            "tokens, so nothing can be learnt from them; check that its files are those that the model was trained "
            "with, or raise data.max_length"
        )
    warnings = _written_out(inputs, tokenizer) if tokenizer.split_special_tokens else []
    if share < _MANY_UNKNOWN:
        return warnings
    note = (
        f"the model's tokenizer does not know {share:.0%} of the tokens of the training texts, which the model reads "
        "as one and the same; a model for their language may do better"
    )
    return [note, *warnings]


def _written_out(inputs: Sequence[Hashable], tokenizer: PreTrainedTokenizerBase) -> list[str]:
    tokens = sorted(set(tokenizer.all_special_tokens))
    parts = [part for text in inputs for part in (text if isinstance(text, tuple) else (text,))]
    found = [token for token in tokens if any(token in part for part in parts)]
    if not found:
        return []
    return [f"texts hold special tokens of the model ({', '.join(found[:5])}), which are read as text like any other"]


def _unknown_share(split: TokenisedSplit, tokenizer: PreTrainedTokenizerBase) -> float:
    """Share of unknown tokens among those of the texts; 0 where the tokenizer has no token of its own for them."""
    unknown = tokenizer.unk_token_id
    special = set(tokenizer.all_special_ids) - {unknown}
    if unknown is None or unknown in (tokenizer.eos_token_id, tokenizer.bos_token_id, tokenizer.pad_token_id):
        return 0.0
    n_text = int((~np.isin(split.tokens_S, list(special))).sum())
    return int((split.tokens_S == unknown).sum()) / max(1, n_text)


def _are_alike(split: TokenisedSplit) -> bool:
    first = split.row(0)
    return bool((split.lengths_N == len(first)).all()) and bool(
        (split.tokens_S.reshape(len(split), len(first)) == first).all()
    )
