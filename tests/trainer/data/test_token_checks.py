"""A tokenizer that does not know the texts is told apart from one that does."""

import re
import shutil
from pathlib import Path

import pytest

from tests.trainer import tiny
from tests.trainer.written_rows import TEXTS, PrepareRows, Rows
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
