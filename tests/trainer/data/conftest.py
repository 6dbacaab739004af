"""A folder with a validation split."""

from pathlib import Path

import pytest

from tests.trainer import tiny
from tests.trainer.data.tables import GOOD


@pytest.fixture
def with_validation(tmp_path: Path) -> Path:
    tiny.write_csv(tmp_path / "validation.csv", GOOD)
    return tmp_path
