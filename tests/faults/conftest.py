"""Databases for many short lives."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from tests.faults.world import World, soft_engine


@pytest.fixture
def fast_engine(database_url: str) -> Iterator[Engine]:
    engine = soft_engine(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def new_world(fast_engine: Engine, tmp_path: Path) -> Callable[..., World]:
    """Make worlds on one database, one after the other: statements stay compiled."""

    def make(n_services: int = 1) -> World:
        return World(fast_engine, tmp_path / "artifacts", n_services)

    return make
