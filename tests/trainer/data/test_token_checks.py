"""A tokenizer that does not know the texts is told apart from one that does."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.trainer import tiny
from tests.trainer.written_rows import TEXTS, PrepareRows, Rows
from trainer.data.tokenised_split import TokenisedSplit
from trainer.errors import ConfigError
from trainer.train.prepare import prepare


def rows_of(*texts: str) -> Rows:
    return [{"text": text, "label": name} for text in texts for name in ("calm", "glad")]


def test_most_tokens_unknown_is_refused(prepare_rows: PrepareRows) -> None:
    rows = rows_of("word1 foo bar", "word2 baz foo")
    with pytest.raises(ConfigError, match=r"model\.name: its tokenizer does not know 67% of the tokens"):
        prepare_rows("text-classification", rows, rows)


def test_many_tokens_unknown_is_told(prepare_rows: PrepareRows) -> None:
    many, few = rows_of("word1 word3 foo", "word2"), rows_of("word1 word3 word4", "word2 word5 foo")
    (warning,) = prepare_rows("text-classification", many, few).facts.warnings
    assert warning.startswith("the model's tokenizer does not know 25% of the tokens of the training texts")
    assert prepare_rows("text-classification", few, many).facts.warnings == []


@pytest.mark.parametrize(
    ("task", "rows"),
    [
        ("text-classification", rows_of("word1 word2", "word1 word3")),
        ("causal-lm", [{"text": "word1 word2 word3"}, {"text": "word1 word2 word4"}]),
    ],
)
def test_texts_that_all_become_the_same_tokens_are_refused(prepare_rows: PrepareRows, task: str, rows: Rows) -> None:
    with pytest.raises(ConfigError, match=rf"turns all {len(rows)} training texts into the same 3 tokens"):
        prepare_rows(task, rows, rows, data={"max_length": 3})


def test_one_text_over_and_over_is_no_fault_of_the_tokenizer(prepare_rows: PrepareRows) -> None:
    assert len(prepare_rows("causal-lm", TEXTS[:1] * 4, TEXTS[1:]).train) == 4


@pytest.mark.parametrize("family", ["bert", "deberta-v2", "gpt2", "llama", "qwen2", "roberta"])
def test_a_model_folder_without_its_tokenizer_is_refused(root: Path, family: str) -> None:
    tiny.make_family(family).save_pretrained(root / "bare")
    with pytest.raises(ConfigError, match=re.escape(f"{root / 'bare'} lacks the files of its tokenizer")):
        prepare(tiny.make_spec(model={"name": "bare"}), roots=[root], device=tiny.CPU)


def test_a_tokenizer_of_its_single_files_is_whole(root: Path) -> None:
    shutil.copytree(root / "model", root / "old")
    words = tiny.make_tokenizer().get_vocab()
    (root / "old" / "tokenizer.json").unlink()
    (root / "old" / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
    (root / "old" / "vocab.txt").write_text("\n".join(sorted(words, key=lambda word: words[word])))
    assert prepare(tiny.make_spec(model={"name": "old"}), roots=[root], device=tiny.CPU).facts.warnings == []


@pytest.mark.parametrize("family", ["bert", "qwen2"])
def test_a_study_of_empty_validation_texts_runs(root: Path, family: str) -> None:
    tiny.save_family(root / "other", family)
    tiny.write_csv(root / "validation.csv", [("", name) for name in tiny.CLASSES])
    prepared = prepare(tiny.make_spec(model={"name": "other"}), roots=[root], device=tiny.CPU)
    assert int(prepared.validation.lengths_N.min()) >= 1
    assert "3 of 3 validation texts are empty; the model can only guess there" in prepared.facts.warnings


def test_a_special_token_in_a_text_is_text(prepare_rows: PrepareRows) -> None:
    rows = rows_of("word1 [SEP] word2 word4 word5 word6 word7 word8", "word2")
    prepared = prepare_rows("text-classification", rows, rows_of("word3"))
    assert isinstance(prepared.train, TokenisedSplit)
    end = prepared.pretrained.processor.sep_token_id
    assert np.flatnonzero(prepared.train.row(0) == end).tolist() == [len(prepared.train.row(0)) - 1]
    assert "texts hold special tokens of the model ([SEP]), which are read as text like any other" in (
        prepared.facts.warnings
    )


def test_a_special_token_in_a_text_to_write_is_that_token(prepare_rows: PrepareRows) -> None:
    prepared = prepare_rows("causal-lm", [*TEXTS, {"text": "word1 [SEP] word2"}], TEXTS)
    assert isinstance(prepared.train, TokenisedSplit)
    assert prepared.train.row(6).tolist()[2] == prepared.pretrained.processor.eos_token_id
    assert not any("special tokens" in warning for warning in prepared.facts.warnings)
