"""A folder with a tiny model and data, and studies prepared from it."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.trainer import tiny
from trainer.prepare import Prepared, prepare

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
