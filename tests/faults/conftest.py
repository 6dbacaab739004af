"""Worlds for many short lives."""

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine

from tests.faults.world import World


@pytest.fixture
def new_world(engine: Engine, tmp_path: Path) -> Callable[..., World]:
    """Make worlds on one database, one after the other: statements stay compiled."""

    def make(n_services: int = 1) -> World:
        return World(engine, tmp_path / "artifacts", n_services)

    return make
