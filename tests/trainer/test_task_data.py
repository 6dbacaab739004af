"""What a task cannot train on is named with its row; what it can is warned of, or counted."""

import json
import re
from collections.abc import Callable
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
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    MixtralConfig,
    MixtralForCausalLM,
    PreTrainedTokenizerFast,
)

from tests.trainer import tiny
from trainer.errors import ConfigError, DataError
from trainer.prepare import Prepared, prepare
from trainer.rows import Rows as DataRows
from trainer.split import IGNORED, TokenisedSplit
from trainer.tasks.token_classification import TokenClassification

Rows = list[dict[str, Any]]
PrepareRows = Callable[..., Prepared]

SINGLE: Rows = [{"text": "word1", "label": "calm"}, {"text": "word2", "label": "glad"}] * 3
MULTI: Rows = [{"text": "word1", "label": ["calm", "glad"]}, {"text": "word2", "label": []}] * 3
NUMBERS: Rows = [{"text": f"word{n}", "label": n} for n in range(6)]
TAGGED: Rows = [{"tokens": ["word1", "word2"], "tags": ["B-X", "O"]}] * 6
TEXTS: Rows = [{"text": f"word{n} word{n + 1}"} for n in range(6)]
PROMPTS: Rows = [{"prompt": f"word{n}", "completion": "word7 word8"} for n in range(6)]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    tiny.save_family(root / "text-classification", "bert", AutoModelForSequenceClassification)
    tiny.save_family(root / "text-regression", "bert", AutoModelForSequenceClassification)
    tiny.save_family(root / "token-classification", "bert", AutoModelForTokenClassification)
    tiny.save_family(root / "causal-lm", "gpt2", AutoModelForCausalLM)
    return root


@pytest.fixture
def prepare_rows(models: Path, tmp_path: Path) -> PrepareRows:
    """Prepare a study of rows for training, and others for validation if there are any."""

    def prepare_them(task: str, train: Rows, validation: Rows | None = None, **overrides: Any) -> Prepared:
        (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, train)))
        (tmp_path / "validation.jsonl").write_text("\n".join(map(json.dumps, validation or [])))
        data = {"train": "train.jsonl", "validation": "validation.jsonl" if validation else None, "test": None}
        data |= overrides.pop("data", {})
        spec = tiny.make_spec(
            **{
                "task": task,
                "model": {"name": task},
                "data": data,
                "fixed": {"batch_size": 2},
                "training": {"similarity": False},
            }
            | overrides
        )
        return prepare(spec, roots=[tmp_path, models], device=tiny.CPU)

    return prepare_them


def good_rows(task: str, like: dict[str, Any]) -> Rows:
    """Six rows that can be trained on, in the form of another."""
    if task == "text-classification":
        return MULTI if isinstance(like["label"], list) else SINGLE
    if task == "causal-lm":
        return PROMPTS if "prompt" in like else TEXTS
    return {"text-regression": NUMBERS, "token-classification": TAGGED}[task]


def column(columns: dict[str, str]) -> dict[str, Any]:
    return {"data": {"columns": columns}}


PROMPTED = column({"prompt": "prompt", "completion": "completion"})


@pytest.mark.parametrize(
    ("task", "train", "overrides", "message"),
    [
        (
            "text-classification",
            [*MULTI, {"text": "a", "label": "calm"}],
            {},
            "row 7: the label 'calm' is no list of classes, as other rows have; write a list in every row",
        ),
        (
            "text-classification",
            [*MULTI, {"text": "a", "label": ["calm", "calm"]}],
            {},
            "row 7: a class is listed twice in ['calm', 'calm']; list each once",
        ),
        (
            "text-classification",
            [*MULTI, {"text": "a", "label": [1.5]}],
            {},
            "row 7: the label 1.5 is neither a name nor a whole number",
        ),
        (
            "text-classification",
            [{"text": "a", "label": []}] * 3,
            {},
            "train.jsonl holds no class; a classifier needs at least 1: check data.columns",
        ),
        (
            "text-classification",
            [{"text": "a", "label": "calm"}, {"text": "b", "label": ["calm"]}],
            {},
            "row 2: the label ['calm'] is neither a name nor a whole number; write class names",
        ),
        ("text-regression", [*NUMBERS, {"text": "a", "label": "many"}], {}, "row 7: the label 'many' is not a number"),
        ("text-regression", [*NUMBERS, {"text": "a", "label": True}], {}, "row 7: the label True is not a number"),
        ("text-regression", [*NUMBERS, {"text": "a", "label": [1]}], {}, "row 7: the label [1] is not a number"),
        ("text-regression", [*NUMBERS, {"text": "a", "label": "nan"}], {}, "row 7: the label 'nan' is no finite"),
        ("text-regression", [*NUMBERS, {"text": "a", "label": 1e39}], {}, "row 7: the label 1e+39 is no finite"),
        ("text-regression", [*NUMBERS, {"text": "a", "label": " "}], {}, "row 7: there is no label; fill it in"),
        ("text-regression", [*NUMBERS, {"text": "a"}], {}, "row 7: there is no label; fill it in"),
        (
            "token-classification",
            [*TAGGED, {"tokens": ["a", "b"], "tags": ["O"]}],
            {},
            "row 7: there are 2 tokens and 1 tags; give each token one tag",
        ),
        ("token-classification", [*TAGGED, {"tokens": "a b", "tags": ["O"]}], {}, "row 7: tokens is 'a b', not a list"),
        ("token-classification", [*TAGGED, {"tokens": ["a"]}], {}, "row 7: there are no tags; give a list of tags"),
        ("token-classification", [*TAGGED, {"tokens": [], "tags": []}], {}, "row 7: there are no tokens; fill them in"),
        ("token-classification", [*TAGGED, {"tokens": [7], "tags": ["O"]}], {}, "row 7: the token is 7, not a string"),
        (
            "token-classification",
            [*TAGGED, {"tokens": ["a"], "tags": [None]}],
            {},
            "row 7: there is no tag; fill it in",
        ),
        (
            "token-classification",
            [*TAGGED, {"tokens": [" "], "tags": ["O"]}],
            {},
            "row 7: no word becomes a token of the model; correct or remove the row",
        ),
        (
            "token-classification",
            [*TAGGED, {"tokens": ["a"], "tags": [0.5]}],
            {},
            "row 7: the tag 0.5 is neither a name nor a whole number; write class names",
        ),
        ("token-classification", [*TAGGED, {"tokens": ["a"], "tags": "O"}], {}, "row 7: tags is 'O', not a list"),
        ("token-classification", [{"tokens": ["a"], "tags": ["O"]}] * 3, {}, "train.jsonl holds one class only, 'O'"),
        ("causal-lm", [*TEXTS, {"text": None}], {}, "row 7: there is no text; fill it in or remove the row"),
        ("causal-lm", [*TEXTS, {"text": 7}], {}, "row 7: the text is 7, not a string; fill it in or remove the row"),
        (
            "causal-lm",
            [*PROMPTS, {"prompt": "a", "completion": ["b"]}],
            PROMPTED,
            "row 7: the completion is ['b'], not a string; fill it in or remove the row",
        ),
        ("causal-lm", [*PROMPTS, {"prompt": "a"}], PROMPTED, "row 7: there is no completion; fill it in"),
        ("causal-lm", TEXTS, PROMPTED, "train.jsonl has no column 'prompt', only 'text'; set data.columns.prompt"),
        (
            "causal-lm",
            [*PROMPTS, {"prompt": "word1 " * 40, "completion": "word2"}, {"prompt": "word1 " * 50, "completion": "b"}],
            PROMPTED | {"data": PROMPTED["data"] | {"validation": "train.jsonl"}},
            "train.jsonl, row 7 (and 1 rows more): within data.max_length = 32 tokens nothing is left to learn from",
        ),
        (
            "causal-lm",
            TEXTS[:1],
            {},
            "row 1: the only example, so a validation split cannot be drawn; add a second one",
        ),
    ],
)
def test_bad_rows_are_refused_by_row(
    prepare_rows: PrepareRows, task: str, train: Rows, overrides: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        prepare_rows(task, train, **overrides)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("task", "good", "bad", "overrides"),
    [
        ("token-classification", TAGGED, {"tokens": [" "], "tags": ["O"]}, {}),
        ("causal-lm", PROMPTS, {"prompt": "word1 " * 40, "completion": "word2"}, PROMPTED),
    ],
)
def test_a_row_keeps_its_number_when_a_validation_split_is_drawn(
    prepare_rows: PrepareRows, task: str, good: Rows, bad: dict[str, Any], overrides: dict[str, Any], seed: int
) -> None:
    with pytest.raises(DataError, match=r"^train\.jsonl, row 9: "):
        prepare_rows(task, [*good, *good[:2], bad, *good], seed=seed, **overrides)


@pytest.mark.parametrize(
    ("task", "train", "validation"),
    [
        ("text-classification", SINGLE, [{"text": "a", "label": "gald"}]),
        ("text-classification", MULTI, [{"text": "a", "label": ["calm", "gald"]}]),
        ("token-classification", TAGGED, [{"tokens": ["a"], "tags": ["gald"]}]),
    ],
)
def test_a_class_that_train_does_not_know_is_refused_by_row(
    prepare_rows: PrepareRows, task: str, train: Rows, validation: Rows
) -> None:
    message = r"validation\.jsonl, row 1: the label 'gald' does not occur in train\.jsonl"
    with pytest.raises(DataError, match=message):
        prepare_rows(task, train, validation)


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


def test_a_model_that_reads_ahead_is_no_causal_one(prepare_rows: PrepareRows, models: Path) -> None:
    tiny.save_family(models / "ahead", "bert", AutoModelForCausalLM)
    with pytest.raises(ConfigError, match="BertLMHeadModel reads the tokens that it is to predict"):
        prepare_rows("causal-lm", TEXTS, TEXTS, model={"name": "ahead"})


def test_a_mixture_of_experts_is_refused_by_name(prepare_rows: PrepareRows, models: Path) -> None:
    sizes = {"vocab_size": 44, "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "num_local_experts": 2, "num_experts_per_tok": 1}
    tiny.save(tiny.make_model(MixtralConfig(**sizes, **heads), MixtralForCausalLM), models / "experts")
    with pytest.raises(ConfigError, match=r"is a mixture of experts \(its config has router_aux_loss_coef\)"):
        prepare_rows("causal-lm", TEXTS, TEXTS, model={"name": "experts"})
