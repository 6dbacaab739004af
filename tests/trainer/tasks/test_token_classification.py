"""The first token of a word has its tag."""

from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer
from transformers import (
    PreTrainedTokenizerFast,
)

from tests.trainer.written_rows import PrepareRows
from trainer.data.rows import Rows as DataRows
from trainer.data.tokenised_split import IGNORED, TokenisedSplit
from trainer.tasks.token_classification import TokenClassification


def test_the_first_token_of_a_word_has_its_tag(prepare_rows: PrepareRows) -> None:
    rows = [{"tokens": ["word1.word2", "word3"], "tags": ["B-X", "O"]}] * 2
    split = prepare_rows("token-classification", rows, rows).train
    assert isinstance(split, TokenisedSplit)
    assert len(split.row(0)) == 6  # [CLS] word1 . word2 word3 [SEP]
    assert split.targets[:6].tolist() == [IGNORED, 0, IGNORED, IGNORED, 1, IGNORED]
    assert split.n_targets_N.tolist() == [2, 2]


def test_words_of_a_byte_level_tokenizer_are_those_of_running_text() -> None:
    words = ("hello", "worldly", "world", "wo rld", "", "hello")
    bpe = Tokenizer(BPE())
    bpe.pre_tokenizer = ByteLevel(add_prefix_space=False)
    trainer = BpeTrainer(vocab_size=300, initial_alphabet=ByteLevel.alphabet(), show_progress=False)
    bpe.train_from_iterator(["hello world hello world"] * 9, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, pad_token="!", bos_token="?")
    task = TokenClassification(class_names=tuple("012345"))
    split = task.encode(DataRows(source="a", inputs=[words], targets=[tuple("012345")]), tokenizer, 32)
    tokens = tokenizer.convert_ids_to_tokens(split.row(0))
    named = [(token, int(tag)) for token, tag in zip(tokens, split.targets, strict=True) if tag != IGNORED]
    assert named == [("hello", 0), ("Ġworld", 1), ("Ġworld", 2), ("w", 3), ("Ġhello", 5)]


def test_tags_without_an_outside_are_told(prepare_rows: PrepareRows) -> None:
    rows = [{"tokens": ["word1", "word2"], "tags": ["NOUN", "VERB"]}] * 3
    others = [{"tokens": ["word3", "word2"], "tags": ["NOUN", "VERB"]}]
    (warning,) = prepare_rows("token-classification", rows, others).facts.warnings
    assert warning.startswith("no tag is O, so every word counts as part of a span")


def test_tags_that_mark_spans_otherwise_are_told(prepare_rows: PrepareRows) -> None:
    rows = [{"tokens": ["word1", "word2", "word3"], "tags": ["B_X", "I_X", "O"]}] * 3
    others = [{"tokens": ["word3", "word2"], "tags": ["B_X", "I_X"]}]
    (warning,) = prepare_rows("token-classification", rows, others).facts.warnings
    assert warning.startswith("tags mark spans in a way that is not read, such as 'B_X'")
