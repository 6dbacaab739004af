"""A winner is scored once, on the test split, with the numbers of a pipeline."""

import math
import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification, PreTrainedModel, pipeline

from tests.trainer import tiny
from tests.trainer.conftest import Prepare, SavedTrial
from tests.trainer.short_memory import fail_once
from trainer.errors import ConfigError, Diverged
from trainer.train.prepare import Prepared
from trainer.train.score import score


def test_score_equals_a_pipeline_on_the_test_split(short_texts: Prepared, saved_trial: SavedTrial) -> None:
    directory, _ = saved_trial
    metrics = score(directory, short_texts)
    assert metrics.keys() == {"test_loss", "test_accuracy", "test_f1_macro", "test_matthews"}
    examples = tiny.make_examples(21, seed=3)
    answers = pipeline("text-classification", model=str(directory), device="cpu")(
        [text for text, _ in examples], truncation=True
    )
    hits = [answer["label"] == label for answer, (_, label) in zip(answers, examples, strict=True)]
    assert metrics["test_accuracy"] == pytest.approx(sum(hits) / len(hits), abs=1e-6)


def test_a_score_frees_memory_for_its_model(
    short_texts: Prepared, saved_trial: SavedTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = score(saved_trial[0], short_texts)
    failed = fail_once(monkeypatch, PreTrainedModel, "to")
    assert score(saved_trial[0], short_texts) == expected
    assert failed


def test_without_a_test_split_there_is_no_score(prepare_study: Prepare, saved_trial: SavedTrial) -> None:
    with pytest.raises(ConfigError, match=r"data\.test: the study has no test split"):
        score(saved_trial[0], prepare_study(data={"test": None}))


def test_a_model_of_other_classes_is_not_scored(short_texts: Prepared, pristine: Path) -> None:
    with pytest.raises(ConfigError, match="other classes"):
        score(pristine / "classifier", short_texts)  # its classes are LABEL_0, LABEL_1, LABEL_2


def test_a_directory_without_a_model_is_not_scored(short_texts: Prepared, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the winner's model cannot be opened"):
        score(tmp_path, short_texts)


def test_a_score_is_finite(short_texts: Prepared, saved_trial: SavedTrial, tmp_path: Path) -> None:
    directory = Path(shutil.copytree(saved_trial[0], tmp_path / "broken"))
    model = AutoModelForSequenceClassification.from_pretrained(directory)
    torch.nn.init.constant_(model.classifier.bias, math.nan)
    model.save_pretrained(directory)
    with pytest.raises(Diverged, match="the test loss is nan"):
        score(directory, short_texts)
