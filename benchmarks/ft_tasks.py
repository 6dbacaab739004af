"""Small text data sets with real labels, and the configurations that `ft_bench.py` trains on each of them.

Six tasks of 128 to 160 rows to train, which differ in what is hard about them:

feedback        customer messages to a shop, 6 subjects: `examples/feedback`
banking-cards   8 intents about bank cards that are easily mistaken for each other: Banking77 (Casanueva et al. 2020)
banking-wide    16 intents, every fifth of the 77 in the order of their names: Banking77
docstrings      first sentence of a public object's docstring; which of 8 subpackages of scipy it is from
movies          sentences of film reviews, praise or blame by the mean of 20 raters: Hutto & Gilbert 2014
tweets          tweets, positive, neutral or negative by the mean of 20 raters: Hutto & Gilbert 2014

The last two are in the source package vaderSentiment 0.5 on PyPI.
"""

import csv
import hashlib
import importlib
import inspect
import io
import json
import random
import tarfile
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from scipy.stats import qmc
from unit_cube import value_at

SEED = 20_261_126
"""Decides which rows are taken and which configurations are drawn."""

EVALUATIONS_PER_EPOCH = 4

SEARCH_SPACE: dict[str, dict[str, Any]] = {
    "learning_rate": {"type": "float", "low": 5e-6, "high": 1e-3, "log": True},
    "batch_size": {"type": "categorical", "choices": [8, 16, 32]},
    "epochs": {"type": "categorical", "choices": [3, 6, 12]},
    "dropout": {"type": "float", "low": 0.0, "high": 0.3},
    "weight_decay": {"type": "categorical", "choices": [0.0, 0.01, 0.1]},
    "lr_schedule": {"type": "categorical", "choices": ["linear", "cosine", "constant_with_warmup"]},
    "frozen_layers": {"type": "int", "low": 0, "high": 6},
}
"""The ranges of all presets for text encoders together. There are three lengths, so that a trial has others of its own
length to be compared with."""

BASELINE: dict[str, Any] = {
    "learning_rate": 2e-5,
    "batch_size": 16,
    "epochs": 12,
    "dropout": 0.1,
    "weight_decay": 0.01,
    "lr_schedule": "linear",
    "frozen_layers": 0,
}
"""The first configuration: where the preset ``encoder-small-data`` starts, as near as the space allows."""

CARD_INTENTS = (
    "activate_my_card",
    "card_about_to_expire",
    "card_arrival",
    "card_delivery_estimate",
    "card_linking",
    "card_not_working",
    "lost_or_stolen_card",
    "order_physical_card",
)
SUBPACKAGES = ("interpolate", "linalg", "ndimage", "optimize", "signal", "sparse", "special", "stats")
VADER_SHA256 = "5d97c37f3ef6e24eef331122e055dbedafeb6a56abfce0608b326701116ea49a"

Row = tuple[str, str]
"""A text and its label."""


def export(folder: Path, *, feedback: Path, banking: Path, vader: Path, n_configurations: int) -> None:
    """Write the tables of all tasks, and ``plan.json`` with what is to be trained.

    Args:
        feedback: folder with ``train.csv`` and ``validation.csv``.
        banking: folder with ``banking77_train.csv`` and ``banking77_test.csv``.
        vader: ``vaderSentiment-0.5.zip``, as PyPI has it.
        n_configurations: power of two; the baseline comes before them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tasks = {
        "feedback": _feedback(feedback),
        "banking-cards": draw_banking(banking, CARD_INTENTS, n_train=20, n_validation=16),
        "banking-wide": draw_banking(banking, intents(banking)[::5], n_train=10, n_validation=8),
        "docstrings": cut(_docstrings(), n_train=16, n_validation=16),
        "movies": cut(_rated(vader, "movieReviewSnippets", {"blame": (-4, -1.5), "praise": (1.5, 4)}), 64, 64),
        "tweets": cut(
            _rated(vader, "tweets", {"negative": (-4, -1.2), "neutral": (-0.4, 0.4), "positive": (1.2, 4)}), 43, 43
        ),
    }
    for name, (train, validation) in tasks.items():
        _write(folder / f"{name}-train.csv", train)
        _write(folder / f"{name}-validation.csv", validation)
    plan = {
        "tasks": list(tasks),
        "evaluations_per_epoch": EVALUATIONS_PER_EPOCH,
        "search_space": SEARCH_SPACE,
        "configurations": [BASELINE, *draw_configurations(n_configurations)],
    }
    (folder / "plan.json").write_text(json.dumps(plan, indent=1) + "\n")


def draw_configurations(count: int) -> list[dict[str, Any]]:
    """Return ``count`` configurations of the space, a power of two: scrambled Sobol points, which leave no gaps."""
    points = qmc.Sobol(len(SEARCH_SPACE), seed=SEED).random(count)
    return [
        {
            name: _rounded_value_at(distribution, float(share))
            for (name, distribution), share in zip(SEARCH_SPACE.items(), point, strict=True)
        }
        for point in points
    ]


def _rounded_value_at(distribution: dict[str, Any], share: float) -> Any:
    value = value_at(distribution, share)
    if not isinstance(value, float) or distribution["type"] != "float":
        return value
    return float(f"{value:.4g}") if distribution.get("log") else round(value, 4)


def _feedback(folder: Path) -> tuple[list[Row], list[Row]]:
    tables = [_read(folder / f"{split}.csv", "label") for split in ("train", "validation")]
    return cut(tables[0], 22, 0)[0], cut(tables[1], 21, 0)[0]


def draw_banking(folder: Path, intents: Sequence[str], n_train: int, n_validation: int) -> tuple[list[Row], list[Row]]:
    tables = [_read(folder / f"banking77_{split}.csv", "category") for split in ("train", "test")]
    train, validation = ([row for row in table if row[1] in intents] for table in tables)
    return cut(train, n_train, 0)[0], cut(validation, n_validation, 0)[0]


def intents(folder: Path) -> list[str]:
    return sorted({label for _, label in _read(folder / "banking77_train.csv", "category")})


def _docstrings() -> Iterator[Row]:
    for subpackage in SUBPACKAGES:
        module = importlib.import_module(f"scipy.{subpackage}")
        for name in sorted(module.__all__):
            paragraphs = (inspect.getdoc(getattr(module, name)) or "").split("\n\n")
            # Compiled functions begin with their signature, which names them
            prose = (" ".join(paragraph.split()) for paragraph in paragraphs if f"{name}(" not in paragraph)
            first = next((text for text in prose if len(text.split()) > 4), None)
            if first is not None:
                yield first[:200], subpackage


def _rated(vader: Path, name: str, bounds: dict[str, tuple[float, float]]) -> Iterator[Row]:
    """Yield the texts whose mean rating, from -4 to 4, lies within the bounds of a label."""
    found = hashlib.sha256(vader.read_bytes()).hexdigest()
    if found != VADER_SHA256:
        raise SystemExit(f"{vader} has SHA-256 {found}, not {VADER_SHA256}: take vaderSentiment-0.5.zip from PyPI")
    with zipfile.ZipFile(vader) as package:
        [archive] = [file for file in package.namelist() if file.endswith("hutto_ICWSM_2014.tar.gz")]
        with tarfile.open(fileobj=io.BytesIO(package.read(archive))) as inner:
            table = inner.extractfile(f"hutto_ICWSM_2014/{name}_GroundTruth.txt")
            assert table is not None
            lines = table.read().decode("latin-1").splitlines()
    for line in lines:
        _, rating, text = line.split("\t", 2)
        for label, (low, high) in bounds.items():
            if low <= float(rating) <= high and 20 <= len(text) <= 200:
                yield text.strip(), label


def cut(rows: Iterable[Row], n_train: int, n_validation: int) -> tuple[list[Row], list[Row]]:
    """Draw as many rows of each label for either split, no text twice."""
    of_label: dict[str, list[str]] = defaultdict(list)
    for text, label in dict(rows).items():  # a text that has two labels keeps the last
        of_label[label].append(text)
    train, validation = [], []
    for label in sorted(of_label):
        texts = random.Random(f"{SEED} {label}").sample(sorted(of_label[label]), n_train + n_validation)
        train += [(text, label) for text in texts[:n_train]]
        validation += [(text, label) for text in texts[n_train:]]
    return train, validation


def _read(file: Path, label: str) -> list[Row]:
    with file.open(newline="", encoding="utf-8") as stream:
        return [(row["text"].strip(), row[label]) for row in csv.DictReader(stream)]


def _write(file: Path, rows: Sequence[Row]) -> None:
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["text", "label"])
        writer.writerows(rows)
