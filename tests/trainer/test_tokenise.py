"""Texts become token ids once, cut where the study says."""

from tests.trainer import tiny
from trainer.data import Rows
from trainer.tokenise import tokenise

TEXTS = ["word1", "word1 word2 word3 word4 word5", "", "angry unheard word2"]
ROWS = Rows(source="train.csv", texts=TEXTS, labels=["calm", "glad", "angry", "calm"])


def test_rows_are_what_the_tokenizer_makes_of_each_text() -> None:
    tokenizer = tiny.make_tokenizer()
    split = tokenise(ROWS, tokenizer, tiny.CLASSES, max_length=5)
    expected = [tokenizer(text, truncation=True, max_length=5)["input_ids"] for text in TEXTS]
    assert [split.row(row).tolist() for row in range(4)] == expected
    assert split.lengths_N.tolist() == [3, 5, 2, 5]
    assert split.labels_N.tolist() == [1, 2, 0, 1]
    assert (len(split), split.pad_id) == (4, 0)


def test_only_rows_that_lose_tokens_count_as_truncated() -> None:
    tokenizer = tiny.make_tokenizer()
    truncated = [tokenise(ROWS, tokenizer, tiny.CLASSES, n).truncated_rows for n in (4, 5, 6, 7)]
    assert truncated == [2, 1, 1, 0]
