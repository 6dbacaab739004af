"""A kept model is a directory that anyone can open, and scores what it scored."""

import math
import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

from tests.trainer import tiny
from tests.trainer.conftest import Prepare
from trainer.errors import ConfigError, Diverged
from trainer.model.best_model import BestModel
from trainer.train.fine_tune import Evaluation, fine_tune
from trainer.train.prepare import Prepared, prepare
from trainer.train.score import score
from trainer.trial.config import TrialConfig

CONFIG = TrialConfig.from_params({"learning_rate": 4e-3, "epochs": 3, "frozen_layers": 1})


@pytest.fixture(scope="module")
def study(pristine: Path) -> Prepared:
    return prepare(tiny.make_spec(data={"max_length": 12}), roots=[pristine], device=tiny.CPU)


@pytest.fixture(scope="module")
def trial(study: Prepared, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Evaluation]]:
    best = BestModel()
    evaluations = list(fine_tune(study, CONFIG, seed=0, number=0, best=best))
    directory = tmp_path_factory.mktemp("trial") / "best"
    best.save(directory)
    return directory, evaluations


def test_nothing_can_be_saved_before_an_evaluation(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no evaluation yet"):
        BestModel().save(tmp_path / "best")


def test_what_is_kept_is_a_copy(study: Prepared, tmp_path: Path) -> None:
    best = BestModel()
    model = study.pretrained.new_model(seed=0, number=0)
    best.keep(study.pretrained, model)
    expected = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter)
    best.save(tmp_path / "best")
    saved = AutoModelForSequenceClassification.from_pretrained(tmp_path / "best").state_dict()
    torch.testing.assert_close(saved, expected, atol=0, rtol=0)


def test_a_pipeline_reproduces_the_accuracy(study: Prepared, trial: tuple[Path, list[Evaluation]]) -> None:
    directory, evaluations = trial
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


def test_class_names_and_length_travel_with_the_model(trial: tuple[Path, list[Evaluation]]) -> None:
    directory, _ = trial
    config = AutoModelForSequenceClassification.from_pretrained(directory).config
    assert config.id2label == dict(enumerate(tiny.CLASSES))
    assert config.problem_type == "single_label_classification"
    assert AutoTokenizer.from_pretrained(directory).model_max_length == 12
    assert not list(directory.glob("*.bin"))


def test_score_equals_a_pipeline_on_the_test_split(study: Prepared, trial: tuple[Path, list[Evaluation]]) -> None:
    directory, _ = trial
    metrics = score(directory, study)
    assert metrics.keys() == {"test_loss", "test_accuracy", "test_f1_macro", "test_matthews"}
    examples = tiny.make_examples(21, seed=3)
    answers = pipeline("text-classification", model=str(directory), device="cpu")(
        [text for text, _ in examples], truncation=True
    )
    hits = [answer["label"] == label for answer, (_, label) in zip(answers, examples, strict=True)]
    assert metrics["test_accuracy"] == pytest.approx(sum(hits) / len(hits), abs=1e-6)


def test_without_a_test_split_there_is_no_score(prepare_study: Prepare, trial: tuple[Path, list[Evaluation]]) -> None:
    with pytest.raises(ConfigError, match=r"data\.test: the study has no test split"):
        score(trial[0], prepare_study(data={"test": None}))


def test_a_model_of_other_classes_is_not_scored(study: Prepared, pristine: Path) -> None:
    with pytest.raises(ConfigError, match="other classes"):
        score(pristine / "classifier", study)  # its classes are LABEL_0, LABEL_1, LABEL_2


def test_a_directory_without_a_model_is_not_scored(study: Prepared, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the winner's model cannot be opened"):
        score(tmp_path, study)


def test_a_score_is_finite(study: Prepared, trial: tuple[Path, list[Evaluation]], tmp_path: Path) -> None:
    directory = Path(shutil.copytree(trial[0], tmp_path / "broken"))
    model = AutoModelForSequenceClassification.from_pretrained(directory)
    torch.nn.init.constant_(model.classifier.bias, math.nan)
    model.save_pretrained(directory)
    with pytest.raises(Diverged, match="the test loss is nan"):
        score(directory, study)
