"""A folder with a tiny model and data, and studies prepared from it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
)

from tests.trainer import tiny
from tests.trainer.families import N_ROWS, Study, spec_of
from tests.trainer.written_rows import PrepareRows, Rows
from trainer.model.best_model import BestModel
from trainer.train.fine_tune import Evaluation, fine_tune
from trainer.train.prepare import Prepared, prepare
from trainer.trial.config import TrialConfig

Prepare = Callable[..., Prepared]
SavedTrial = tuple[Path, list[Evaluation]]
"""Folder of a trial's model, and its evaluations."""


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """What a trial promises to the last bit, it promises on one thread."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that tests read; those that write take a copy."""
    root = tmp_path_factory.mktemp("root")
    tiny.save_bert(root / "model")
    tiny.save_classifier(root / "classifier")
    tiny.write_csv(root / "train.csv", tiny.make_examples(96, seed=1))
    tiny.write_csv(root / "validation.csv", tiny.make_examples(30, seed=2))
    tiny.write_csv(root / "test.csv", tiny.make_examples(21, seed=3))
    return root


@pytest.fixture
def root(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "root"))


@pytest.fixture(scope="session")
def prepared(pristine: Path) -> Prepared:
    return prepare(tiny.make_spec(), roots=[pristine], device=tiny.CPU)


@pytest.fixture
def prepare_study(pristine: Path) -> Prepare:
    """Prepare a study of the pristine folder; overrides as in ``tiny.make_spec``."""

    def prepare_spec(**overrides: Any) -> Prepared:
        return prepare(tiny.make_spec(**overrides), roots=[pristine], device=tiny.CPU)

    return prepare_spec


@pytest.fixture(scope="session")
def task_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    tiny.save_family(root / "text-classification", "bert", AutoModel)
    tiny.save_family(root / "text-regression", "bert", AutoModelForSequenceClassification)
    tiny.save_family(root / "token-classification", "bert", AutoModel)
    tiny.save_family(root / "causal-lm", "gpt2", AutoModelForCausalLM)
    return root


@pytest.fixture
def prepare_rows(task_models: Path, tmp_path: Path) -> PrepareRows:
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
        return prepare(spec, roots=[tmp_path, task_models], device=tiny.CPU)

    return prepare_them


@pytest.fixture(scope="session")
def family_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data for texts and for images; models are saved beside it when they are asked for."""
    root = tmp_path_factory.mktemp("families")
    tiny.write_csv(root / "train.csv", tiny.make_examples(N_ROWS, seed=1))
    tiny.write_csv(root / "validation.csv", tiny.make_examples(12, seed=2))
    tiny.write_csv(root / "test.csv", tiny.make_examples(6, seed=3))
    generator = np.random.default_rng(0)
    for split, n_rows in (("train", N_ROWS), ("validation", 12)):
        for row in range(n_rows):
            pixels = generator.integers(0, 256, (tiny.IMAGE_SIZE, tiny.IMAGE_SIZE, 3), dtype=np.uint8)
            file = root / "images" / split / tiny.CLASSES[row % 3] / f"{row}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(file)
    return root


@pytest.fixture(scope="session")
def family_study(family_folder: Path) -> Study:
    """Prepare a study of a family, with a head in the checkpoint so that nothing is drawn; once each."""
    known: dict[str, Prepared] = {}

    def make(family: str, *, head: bool = True, **overrides: Any) -> Prepared:
        name = f"{family}{'' if head else '-body'}"
        key = f"{name}{overrides}"
        if key not in known:
            auto_class = AutoModelForImageClassification if family == "vit" else AutoModelForSequenceClassification
            if not (family_folder / name).exists():
                tiny.save_family(family_folder / name, family, auto_class, num_labels=3 if head else 2)
            known[key] = prepare(spec_of(family, name, **overrides), roots=[family_folder], device=tiny.CPU)
        return known[key]

    return make


@pytest.fixture(scope="session")
def short_texts(pristine: Path) -> Prepared:
    """A study that cuts texts at 12 tokens."""
    return prepare(tiny.make_spec(data={"max_length": 12}), roots=[pristine], device=tiny.CPU)


@pytest.fixture(scope="session")
def saved_trial(short_texts: Prepared, tmp_path_factory: pytest.TempPathFactory) -> SavedTrial:
    config = TrialConfig.from_params({"learning_rate": 4e-3, "epochs": 3, "frozen_layers": 1})
    best = BestModel()
    evaluations = list(fine_tune(short_texts, config, seed=0, number=0, best=best))
    directory = tmp_path_factory.mktemp("trial") / "best"
    best.save(directory)
    return directory, evaluations
