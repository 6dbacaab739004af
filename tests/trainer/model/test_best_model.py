"""A kept model is a directory that anyone can open, and scores what it scored."""

import math
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

from tests.trainer import tiny
from tests.trainer.conftest import SavedTrial
from trainer.model.best_model import BestModel
from trainer.train.prepare import Prepared
from trainer.trial.config import TrialConfig

CONFIG = TrialConfig.from_params({"learning_rate": 4e-3, "epochs": 3, "frozen_layers": 1})


def test_nothing_can_be_saved_before_an_evaluation(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no evaluation yet"):
        BestModel().save(tmp_path / "best")


def test_what_is_kept_is_a_copy(short_texts: Prepared, tmp_path: Path) -> None:
    best = BestModel()
    model = short_texts.pretrained.new_model(seed=0, number=0)
    best.keep(short_texts.pretrained, model)
    expected = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter)
    best.save(tmp_path / "best")
    saved = AutoModelForSequenceClassification.from_pretrained(tmp_path / "best").state_dict()
    torch.testing.assert_close(saved, expected, atol=0, rtol=0)


def test_a_pipeline_reproduces_the_accuracy(short_texts: Prepared, saved_trial: SavedTrial) -> None:
    directory, evaluations = saved_trial
    examples = tiny.make_examples(30, seed=2)
    classify = pipeline("text-classification", model=str(directory), device="cpu")
    answers = classify([text for text, _ in examples], truncation=True)
    hits = [answer["label"] == label for answer, (_, label) in zip(answers, examples, strict=True)]
    best = min(evaluations, key=lambda evaluation: evaluation.value)
    assert best.metrics["accuracy"] > 0.4
    assert sum(hits) / len(hits) == pytest.approx(best.metrics["accuracy"], abs=1e-6)
    labels = [label for _, label in examples]
    scores = classify([text for text, _ in examples], truncation=True, top_k=None)
    loss = -sum(
        math.log(next(entry["score"] for entry in row if entry["label"] == label))
        for row, label in zip(scores, labels, strict=True)
    )
    assert loss / len(examples) == pytest.approx(best.metrics["validation_loss"], abs=1e-5)


def test_class_names_and_length_travel_with_the_model(saved_trial: SavedTrial) -> None:
    directory, _ = saved_trial
    config = AutoModelForSequenceClassification.from_pretrained(directory).config
    assert config.id2label == dict(enumerate(tiny.CLASSES))
    assert config.problem_type == "single_label_classification"
    assert AutoTokenizer.from_pretrained(directory).model_max_length == 12
    assert not list(directory.glob("*.bin"))
