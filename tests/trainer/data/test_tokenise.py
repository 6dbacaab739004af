"""Texts become token ids once, cut where the study says."""

import numpy as np

from tests.trainer import tiny
from trainer.data.tokenise import encode_texts

TEXTS = ["word1", "word1 word2 word3 word4 word5", "", "angry unheard word2"]
TARGETS_N = np.array([1, 2, 0, 1])


def test_rows_are_what_the_tokenizer_makes_of_each_text() -> None:
    tokenizer = tiny.make_tokenizer()
    split = encode_texts(TEXTS, TARGETS_N, tokenizer, max_length=5)
    expected = [tokenizer(text, truncation=True, max_length=5)["input_ids"] for text in TEXTS]
    assert [split.row(row).tolist() for row in range(4)] == expected
    assert split.lengths_N.tolist() == [3, 5, 2, 5]
    assert split.targets.tolist() == [1, 2, 0, 1]
    assert (len(split), split.pad_id) == (4, 0)


def test_only_rows_that_lose_tokens_count_as_truncated() -> None:
    tokenizer = tiny.make_tokenizer()
    truncated = [encode_texts(TEXTS, TARGETS_N, tokenizer, n).truncated_rows for n in (4, 5, 6, 7)]
    assert truncated == [2, 1, 1, 0]
