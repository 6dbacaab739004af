"""The example must stay worth searching: neither trivial nor hopeless."""

import csv
from collections import Counter
from pathlib import Path

import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from spezia.cli.study_file import load_study_file

FEEDBACK = Path(__file__).parent.parent / "examples" / "feedback"
SPLITS = ("train", "validation", "test")


def load(split: str) -> tuple[list[str], list[str]]:
    with (FEEDBACK / f"{split}.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [row["text"] for row in rows], [row["label"] for row in rows]


def test_bag_of_words_gets_between_60_and_85_percent() -> None:
    model = make_pipeline(TfidfVectorizer(), LogisticRegression(max_iter=1000))
    model.fit(*load("train"))
    assert 0.60 <= model.score(*load("validation")) <= 0.85


def test_there_are_900_different_messages_in_six_balanced_topics() -> None:
    texts, labels = zip(*(load(split) for split in SPLITS), strict=True)
    every_text = [text for split in texts for text in split]
    assert len(every_text) == len(set(every_text)) >= 900
    counts = Counter(label for split in labels for label in split)
    assert len(counts) == 6
    assert min(counts.values()) >= 0.8 * max(counts.values())


@pytest.mark.parametrize("split", SPLITS)
def test_every_split_has_every_topic(split: str) -> None:
    assert set(load(split)[1]) == set(load("train")[1])


def test_the_study_searches_the_seven_hyperparameters() -> None:
    spec = load_study_file(FEEDBACK / "study.yaml")
    assert set(spec.search_space) == {
        "learning_rate",
        "batch_size",
        "epochs",
        "dropout",
        "weight_decay",
        "lr_schedule",
        "frozen_layers",
    }
    assert (spec.sampler.name, spec.pruner.name, spec.n_trials, spec.baseline) == ("tpe", "median", 8, True)
