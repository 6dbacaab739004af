"""Seeds of `simulation.py`: whatever happens, in whatever order, all invariants hold and the study ends."""

from pathlib import Path

import pytest
from sqlalchemy import Engine

from tests.faults.simulation import Simulation
from tests.faults.world import World, empty

SEEDS_AT_A_TIME = 10
"""On one database, each with a study of its own."""


LONG_EVENTS, LONG_TRIALS = 100, 6


def run(engine: Engine, folder: Path, seeds: range, n_events: int, n_trials: int = 3, *, sends: bool = False) -> None:
    for seed in seeds:
        world = World(engine, folder, n_services=1 + seed % 2)
        found = Simulation(world, seed, n_trials, sends=sends).run(n_events)
        assert not found, f"seed {seed}: " + "; ".join(found)
        empty(engine, folder)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "first", [pytest.param(first, marks=[pytest.mark.slow] * (first >= 50)) for first in range(0, 200, SEEDS_AT_A_TIME)]
)
def test_nothing_is_lost_under_faults(engine: Engine, tmp_path: Path, first: int) -> None:
    run(engine, tmp_path / "artifacts", range(first, first + SEEDS_AT_A_TIME), n_events=25)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_nothing_is_lost_under_faults_on_postgresql(engine: Engine, tmp_path: Path) -> None:
    run(engine, tmp_path / "artifacts", range(5), n_events=25)


@pytest.mark.slow
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("first", range(0, 2000, SEEDS_AT_A_TIME))
def test_nothing_is_lost_under_many_faults(engine: Engine, tmp_path: Path, first: int) -> None:
    run(engine, tmp_path / "artifacts", range(first, first + SEEDS_AT_A_TIME), LONG_EVENTS, LONG_TRIALS)


@pytest.mark.slow
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("first", range(0, 50, SEEDS_AT_A_TIME))
def test_nothing_is_lost_under_many_faults_on_postgresql(engine: Engine, tmp_path: Path, first: int) -> None:
    run(engine, tmp_path / "artifacts", range(first, first + SEEDS_AT_A_TIME), LONG_EVENTS, LONG_TRIALS)


@pytest.mark.slow
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("first", range(0, 60, SEEDS_AT_A_TIME))
def test_nothing_is_lost_where_workers_send_each_other_checkpoints(engine: Engine, tmp_path: Path, first: int) -> None:
    run(engine, tmp_path / "artifacts", range(first, first + SEEDS_AT_A_TIME), n_events=100, n_trials=20, sends=True)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("seed", [505, 1687, 1739])
def test_paused_trials_go_on_though_the_clock_was_set_back_by_hours(engine: Engine, tmp_path: Path, seed: int) -> None:
    run(engine, tmp_path / "artifacts", range(seed, seed + 1), LONG_EVENTS, LONG_TRIALS)
