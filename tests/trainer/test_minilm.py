"""The real MiniLM, carried by a package, from files to a scored model."""

from pathlib import Path

import pytest
from transformers import pipeline

from tests.trainer import tiny
from trainer.model.best_model import BestModel
from trainer.train.fine_tune import fine_tune
from trainer.train.linear_probe import measure_similarity
from trainer.train.prepare import Prepared, prepare
from trainer.train.score import score
from trainer.trial.config import TrialConfig

THINGS = ("film", "meal", "journey", "concert", "hotel", "book", "game", "lecture")
WORDS = {
    "good": ("wonderful", "a delight", "superb", "lovely"),
    "bad": ("dreadful", "a bore", "awful", "a waste"),
}
EXAMPLES = [(f"the {thing} was {word}", label) for label, words in WORDS.items() for word in words for thing in THINGS]
CONFIG = TrialConfig.from_params({"learning_rate": 5e-4, "batch_size": 8, "epochs": 2, "frozen_layers": 2})


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    root = tmp_path_factory.mktemp("minilm")
    tiny.write_csv(root / "train.csv", [example for example in EXAMPLES if "film" not in example[0]])
    tiny.write_csv(root / "test.csv", [example for example in EXAMPLES if "film" in example[0]])
    spec = tiny.make_spec(model={"name": "sentence-transformers/all-MiniLM-L6-v2"}, data={"validation": None})
    return prepare(spec, roots=[root], device=tiny.CPU)


def test_facts_of_minilm(study: Prepared) -> None:
    assert study.facts.blocks == 6
    assert study.facts.parameters == 22_713_986
    assert study.facts.checkpoint_dropout == 0.1
    probe = measure_similarity(study)
    assert probe is not None
    assert probe.suggestion == "similar-task"


def test_a_trial_learns_is_saved_and_scored(study: Prepared, tmp_path: Path) -> None:
    best = BestModel()
    evaluations = list(fine_tune(study, CONFIG, seed=0, number=0, best=best))
    assert evaluations[-1].value < 0.3
    assert evaluations[-1].metrics["accuracy"] == 1.0
    best.save(tmp_path / "best")
    assert score(tmp_path / "best", study)["test_accuracy"] == 1.0
    classify = pipeline("text-classification", model=str(tmp_path / "best"), device="cpu")
    assert [answer["label"] for answer in classify(["the film was superb", "the film was a bore"])] == [
        "good",
        "bad",
    ]
