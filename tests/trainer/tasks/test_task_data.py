"""What is odd about data but can be trained on is warned of, or counted; and how rows become numbers."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.trainer import tiny
from tests.trainer.written_rows import MULTI, NUMBERS, PROMPTED, PROMPTS, TEXTS, PrepareRows, Rows, good_rows
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
