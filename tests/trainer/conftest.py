"""A folder with a tiny model and data, and studies prepared from it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

from tests.trainer import tiny
from tests.trainer.written_rows import PrepareRows, Rows
from trainer.train.prepare import Prepared, prepare

Prepare = Callable[..., Prepared]


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
    tiny.save_family(root / "text-classification", "bert", AutoModelForSequenceClassification)
    tiny.save_family(root / "text-regression", "bert", AutoModelForSequenceClassification)
    tiny.save_family(root / "token-classification", "bert", AutoModelForTokenClassification)
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
