"""What is odd about data but can be trained on is warned of, or counted; and how rows become numbers."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer
from transformers import (
    AutoModelForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    PreTrainedTokenizerFast,
)

from tests.trainer import tiny
from tests.trainer.written_rows import MULTI, PROMPTED, PROMPTS, TEXTS, PrepareRows, Rows, good_rows
from trainer.data.rows import Rows as DataRows
from trainer.data.tokenised_split import IGNORED, TokenisedSplit
from trainer.errors import ConfigError, DataError
from trainer.tasks.token_classification import TokenClassification


@pytest.mark.parametrize(
    ("task", "rows", "overrides", "cut"),
    [
        ("text-classification", [{"text": "word1 " * 40, "label": "calm"}], {}, 1),
        ("text-classification", [{"text": "word1 " * 40, "label": ["calm"]}], {}, 1),
        ("text-regression", [{"text": "word1 " * 40, "label": 1}], {}, 1),
        ("token-classification", [{"tokens": ["word1"] * 40, "tags": ["O"] * 40}], {}, 1),
        ("causal-lm", [{"text": "word1 " * 40}], {}, 1),
        ("causal-lm", [{"prompt": "word1", "completion": "word2 " * 40}], PROMPTED, 1),
        ("causal-lm", [{"text": "word1 " * 30}], {}, 0),
    ],
)
def test_long_examples_are_cut_and_counted(
    prepare_rows: PrepareRows, task: str, rows: Rows, overrides: dict[str, Any], cut: int
) -> None:
    good = good_rows(task, rows[0])
    prepared = prepare_rows(task, [*good, *rows], good, **overrides)
    assert prepared.facts.truncated_rows == cut
    assert prepared.facts.max_tokens == 32
    assert any("are cut at data.max_length" in warning for warning in prepared.facts.warnings) == bool(cut)


@pytest.mark.parametrize(
    ("task", "row", "overrides"),
    [
        ("text-classification", {"text": "", "label": "calm"}, {}),
        ("text-classification", {"text": "", "label": ["calm"]}, {}),
        ("text-regression", {"text": " ", "label": 1}, {}),
        ("causal-lm", {"text": ""}, {}),
        ("causal-lm", {"prompt": "", "completion": ""}, PROMPTED),
    ],
)
def test_empty_inputs_are_warned_of(
    prepare_rows: PrepareRows, task: str, row: dict[str, Any], overrides: dict[str, Any]
) -> None:
    good = good_rows(task, row)
    prepared = prepare_rows(task, [*good, row], good, **overrides)
    assert prepared.facts.train_rows == 7
    assert "1 of 7 train texts are empty; the model can only guess there" in prepared.facts.warnings
    rows_B = np.array([6])
    assert prepared.train.n_targets_N[6] >= 1
    assert prepared.train.collate(rows_B, tiny.CPU).inputs["input_ids"].shape[1] >= 1


def test_a_prompt_seen_again_with_another_completion_is_no_duplicate(prepare_rows: PrepareRows) -> None:
    others = [{"prompt": f"word{n}", "completion": f"word{n}"} for n in range(3)]
    assert prepare_rows("causal-lm", PROMPTS, others, **PROMPTED).facts.warnings == []
    (warning,) = prepare_rows("causal-lm", TEXTS, [*TEXTS[:2], {"text": "word20"}]).facts.warnings
    assert warning == "2 of 3 validation texts also occur in train; validation looks better than it is"
    (warning,) = prepare_rows("causal-lm", [*TEXTS, {"text": ""}], [{"text": "word20"}]).facts.warnings
    assert warning == "1 of 7 train texts are empty; the model can only guess there"


def test_a_csv_of_several_classes_needs_a_separator(prepare_rows: PrepareRows, tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("text,label\na,calm | glad\nb,\nc,glad\nd,calm\n")
    data = {"train": "train.csv", "validation": "train.csv"}
    with pytest.raises(DataError, match="row 2: there is no label"):
        prepare_rows("text-classification", MULTI, data=data)
    prepared = prepare_rows("text-classification", MULTI, data=data | {"label_separator": "|"})
    assert prepared.facts.classes == ["calm", "glad"]
    assert prepared.train.targets.tolist() == [[1, 1], [0, 0], [0, 1], [1, 0]]


@pytest.mark.parametrize(
    ("train", "metric", "known"),
    [
        (MULTI, "matthews", "this study's texts have several classes each; use validation_loss, f1_micro"),
        (
            [{"text": "a", "label": name} for name in "xyxy"],
            "subset_accuracy",
            "this study's texts have one class each; use validation_loss, accuracy",
        ),
    ],
)
def test_a_metric_of_other_labels_is_refused(prepare_rows: PrepareRows, train: Rows, metric: str, known: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"objective.metric = {metric}: {known}")):
        prepare_rows("text-classification", train, train, objective={"metric": metric})


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


def test_a_prompt_does_not_count_and_an_end_is_learnt(prepare_rows: PrepareRows) -> None:
    tokenizer = tiny.make_decoder_tokenizer()
    split = prepare_rows("causal-lm", PROMPTS, PROMPTS, **PROMPTED).train
    assert isinstance(split, TokenisedSplit)
    prompt, completion = (
        tokenizer("word0")["input_ids"],
        tokenizer("word7 word8", add_special_tokens=False)["input_ids"],
    )
    end = tokenizer.eos_token_id
    assert split.row(0).tolist() == [*prompt, *completion, end]
    assert split.collate(np.array([0]), tiny.CPU).targets.tolist() == [[IGNORED, IGNORED, *completion, end]]
    assert split.pad_id == end  # it has no padding token of its own


def test_a_model_that_reads_ahead_is_no_causal_one(prepare_rows: PrepareRows, task_models: Path) -> None:
    tiny.save_family(task_models / "ahead", "bert", AutoModelForCausalLM)
    with pytest.raises(ConfigError, match="BertLMHeadModel reads the tokens that it is to predict"):
        prepare_rows("causal-lm", TEXTS, TEXTS, model={"name": "ahead"})


def test_a_mixture_of_experts_is_refused_by_name(prepare_rows: PrepareRows, task_models: Path) -> None:
    sizes = {"vocab_size": 44, "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "num_local_experts": 2, "num_experts_per_tok": 1}
    tiny.save(tiny.make_model(MixtralConfig(**sizes, **heads), MixtralForCausalLM), task_models / "experts")
    with pytest.raises(ConfigError, match=r"is a mixture of experts \(its config has router_aux_loss_coef\)"):
        prepare_rows("causal-lm", TEXTS, TEXTS, model={"name": "experts"})
