"""Texts become token ids once, cut where the study says."""

import numpy as np
import pytest
from tokenizers.processors import TemplateProcessing
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from tests.trainer import tiny
from trainer.data.tokenise import encode_texts
from trainer.model.model_source import resolve_model

TEXTS = ["word1", "word1 word2 word3 word4 word5", "", "angry unheard word2"]
MINILM = resolve_model("sentence-transformers/all-MiniLM-L6-v2", None, []).directory
TARGETS_N = np.array([1, 2, 0, 1])


def without_edges(tokenizer: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="$A", special_tokens=[])
    return tokenizer


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


@pytest.mark.parametrize(
    ("tokenizer", "token"), [(tiny.make_qwen2_tokenizer(), "[SEP]"), (without_edges(tiny.make_tokenizer()), "[PAD]")]
)
def test_a_text_without_tokens_gets_one(tokenizer: PreTrainedTokenizerFast, token: str) -> None:
    assert tokenizer("")["input_ids"] == []
    split = encode_texts(["", "word1"], np.array([0, 1]), tokenizer, max_length=8)
    assert tokenizer.convert_ids_to_tokens(split.row(0)) == [token]
    assert (split.n_targets_N.tolist(), split.truncated_rows) == ([1, 1], 0)


PAIRS = [
    ("word1", "word2 word3"),
    ("word1 word2 word3 word4 word5", "word6"),
    ("", "word1"),
    ("glad " * 7, "calm " * 5),
]


@pytest.mark.parametrize("max_length", range(4, 17))
@pytest.mark.parametrize(
    "tokenizer", [tiny.make_tokenizer(), tiny.make_typing_tokenizer(), AutoTokenizer.from_pretrained(MINILM)]
)
def test_pairs_are_what_the_tokenizer_makes_of_them(tokenizer: PreTrainedTokenizerFast, max_length: int) -> None:
    split = encode_texts(list(PAIRS), TARGETS_N, tokenizer, max_length)
    plain = [tokenizer(*pair, truncation=True, max_length=max_length) for pair in PAIRS]
    assert [split.row(row).tolist() for row in range(4)] == [row["input_ids"] for row in plain]
    assert split.truncated_rows == sum(len(tokenizer(*pair)["input_ids"]) > max_length for pair in PAIRS)
    inputs = split.collate(np.arange(4), tiny.CPU).inputs
    padded = tokenizer.pad({name: [row[name] for row in plain] for name in plain[0]}, return_tensors="pt")
    assert inputs.keys() == padded.keys()
    for name, values_BT in inputs.items():
        assert values_BT.tolist() == padded[name].tolist()


def test_which_text_a_token_belongs_to_is_part_of_the_inputs() -> None:
    tokenizer = tiny.make_typing_tokenizer()
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="$A", pair="$A $B:1", special_tokens=[])
    one, other = (
        encode_texts([pair], TARGETS_N[:1], tokenizer, 8) for pair in (("word1", "word2 glad"), ("word1 word2", "glad"))
    )
    assert one.row(0).tolist() == other.row(0).tolist()
    assert one.inputs_sha256 != other.inputs_sha256
