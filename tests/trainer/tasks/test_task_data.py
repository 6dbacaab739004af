"""What is odd about data but can be trained on is warned of, or counted; and how rows become numbers."""

import re
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest

from tests.trainer import tiny
from tests.trainer.written_rows import MULTI, NUMBERS, PAIRS, PROMPTED, PROMPTS, TEXTS, PrepareRows, Rows, good_rows
from trainer.errors import ConfigError, DataError


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
    (tmp_path / "train.csv").write_text("text,label\nword1,calm | glad\nword2,\nword3,glad\nword4,calm\n")
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


def test_decimal_commas_are_read_and_told(prepare_rows: PrepareRows, tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("text;label\nword1;3,5\nword2;-2\nword3;0,25\n")
    prepared = prepare_rows("text-regression", NUMBERS, data={"train": "train.csv", "validation": "train.csv"})
    assert prepared.train.targets.tolist() == [3.5, -2.0, 0.25]
    assert "train.csv: commas in the label are taken for decimal points" in prepared.facts.warnings
    (tmp_path / "train.csv").write_text("text;label\nword1;3,5\nword2;2.5\n")
    with pytest.raises(DataError, match="row 1: the label '3,5' is not a number"):
        prepare_rows("text-regression", NUMBERS, data={"train": "train.csv", "validation": "train.csv"})


def test_prompts_and_completions_are_found_without_being_named(prepare_rows: PrepareRows) -> None:
    prepared, named = (
        prepare_rows("causal-lm", PROMPTS, PROMPTS),
        prepare_rows("causal-lm", PROMPTS, PROMPTS, **PROMPTED),
    )
    assert prepared.facts.data_sha256 == named.facts.data_sha256
    (warning,) = set(prepared.facts.warnings) - set(named.facts.warnings)
    assert warning == "train.jsonl has no text, so its prompt and completion are read"


def test_classes_of_which_a_text_has_several_are_not_weighed(prepare_rows: PrepareRows) -> None:
    with pytest.raises(ConfigError, match=re.escape("training.class_weights: this study's texts have several classes")):
        prepare_rows("text-classification", MULTI, MULTI, training={"class_weights": "balanced"})


def test_a_text_pair_is_found_without_being_named(prepare_rows: PrepareRows) -> None:
    named = [{"text": row["text"], "second": row["text_pair"], "label": row["label"]} for row in PAIRS]
    found = prepare_rows("text-classification", PAIRS, PAIRS)
    told = prepare_rows("text-classification", named, named, data={"columns": {"text_pair": "second"}})
    assert found.train.inputs_sha256 == told.train.inputs_sha256
    assert found.facts.columns == {"text": "text", "text_pair": "text_pair", "label": "label"}
    assert told.facts.columns == {"text": "text", "text_pair": "second", "label": "label"}
    (warning,) = set(found.facts.warnings) - set(told.facts.warnings)
    assert warning == "train.jsonl has a text_pair, which is read with each text"


@pytest.mark.parametrize(
    ("task", "label"), [("text-classification", "calm"), ("text-classification", ["calm"]), ("text-regression", 1.5)]
)
def test_a_blank_half_of_a_pair_is_told_and_a_missing_one_refused(
    prepare_rows: PrepareRows, task: str, label: Any
) -> None:
    good = [{"text": "word1", "text_pair": "word2", **row} for row in good_rows(task, {"label": label})]
    blank = {"text": "word1", "text_pair": " ", "label": label}
    warnings = prepare_rows(task, [*good, blank], good).facts.warnings
    assert "1 of 7 train texts are empty; the model can only guess there" in warnings
    with pytest.raises(DataError, match=r"row 7: there is no text_pair; fill it in or remove the row"):
        prepare_rows(task, [*good, blank | {"text_pair": None}], good)
    with pytest.raises(DataError, match=r"validation.jsonl has no column 'text_pair'"):
        prepare_rows(task, good, good_rows(task, {"label": label}))
    with pytest.raises(ConfigError, match=r"data.max_length = 3 leaves no token for text, since 3 are special"):
        prepare_rows(task, good, good, data={"max_length": 3})


@pytest.mark.parametrize(
    ("family", "overrides", "has_types"),
    [("bert", {}, True), ("distilbert", {}, False), ("roberta", {"type_vocab_size": 1}, False)],
)
def test_a_model_is_told_which_text_a_token_belongs_to_if_it_reads_that(
    prepare_rows: PrepareRows, tmp_path: Path, family: str, overrides: dict[str, Any], has_types: bool
) -> None:
    tiny.save(tiny.make_family(family, **overrides), tmp_path / "model", tiny.make_typing_tokenizer())
    prepared = prepare_rows("text-classification", PAIRS, PAIRS, model={"name": "model"})
    batch = prepared.train.collate(np.arange(2), tiny.CPU)
    assert ("token_type_ids" in batch.inputs) == has_types
    model = prepared.pretrained.new_model(seed=0, number=0).eval()
    plain = prepared.pretrained.processor(PAIRS[0]["text"], PAIRS[0]["text_pair"], return_tensors="pt")
    assert model(**batch.inputs).logits[0].tolist() == pytest.approx(model(**plain).logits[0].tolist(), abs=1e-5)


def test_a_pair_with_nothing_between_is_told(prepare_rows: PrepareRows, tmp_path: Path) -> None:
    tiny.save_family(tmp_path / "model", "gpt2")
    warnings = prepare_rows("text-classification", PAIRS, PAIRS, model={"name": "model"}).facts.warnings
    assert any(
        warning.startswith("the model's tokenizer puts nothing between a text and its pair") for warning in warnings
    )
    warnings = prepare_rows("text-classification", PAIRS, PAIRS).facts.warnings
    assert not any("puts nothing between" in warning for warning in warnings)


def test_a_pair_may_come_from_the_hub(monkeypatch: pytest.MonkeyPatch, prepare_rows: PrepareRows) -> None:
    monkeypatch.setattr(datasets, "load_dataset", lambda *_args, **_options: datasets.Dataset.from_list(PAIRS))
    from_hub = {"train": "hub://owner/name#train", "validation": "hub://owner/name#test"}
    found, written = (prepare_rows("text-classification", PAIRS, PAIRS, data=data) for data in (from_hub, {}))
    assert found.train.inputs_sha256 == written.train.inputs_sha256


@pytest.mark.parametrize("hot", [[1, 0, 0], [1.0, 0.0], [True, False, True]])
def test_lists_of_0_and_1_for_each_class_are_refused_or_told(prepare_rows: PrepareRows, hot: list[float]) -> None:
    rows = [{"text": f"word{n}", "label": hot} for n in range(6)]
    with pytest.raises(DataError, match=r"row 1: the label .* seems to have 0 or 1 for each class"):
        prepare_rows("text-classification", rows, rows)
    rows = [{"text": f"word{n}", "label": [[1, 0], [0, 1]][n % 2]} for n in range(6)]
    warnings = prepare_rows("text-classification", rows, rows).facts.warnings
    assert any(warning.startswith("the classes are called 0 and 1") for warning in warnings)


@pytest.mark.parametrize("label", ["1_5", "1e30", -3e19])
def test_numbers_that_cannot_be_learnt_are_refused(prepare_rows: PrepareRows, label: str | float) -> None:
    rows = [{"text": f"word{n}", "label": label if n == 2 else n} for n in range(6)]
    with pytest.raises(DataError, match=r"^train\.jsonl, row 3: the label .* is (not a number|too large)"):
        prepare_rows("text-regression", rows, rows)


def test_nothing_between_separators_is_no_class(prepare_rows: PrepareRows) -> None:
    rows = [{"text": f"word{n}", "label": ("calm;", ";glad; ; calm", " ; ")[n % 3]} for n in range(6)]
    prepared = prepare_rows("text-classification", rows, rows, data={"label_separator": ";"})
    assert prepared.facts.classes == ["calm", "glad"]
    assert prepared.train.targets[:3].tolist() == [[1, 0], [1, 1], [0, 0]]
