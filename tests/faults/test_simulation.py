"""Seeds of `simulation.py`: whatever happens, in whatever order, all invariants hold and the study ends."""

from collections.abc import Callable

import pytest

from tests.faults.simulation import Simulation
from tests.faults.world import World

SEEDS_AT_A_TIME = 10
"""On one database, each with a study of its own."""


def run(new_world: Callable[..., World], seeds: range, n_events: int) -> None:
    for seed in seeds:
        found = Simulation(new_world(n_services=1 + seed % 2), seed).run(n_events)
        assert not found, f"seed {seed}: " + "; ".join(found)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("first", range(0, 200, SEEDS_AT_A_TIME))
def test_nothing_is_lost_under_faults(new_world: Callable[..., World], first: int) -> None:
    run(new_world, range(first, first + SEEDS_AT_A_TIME), n_events=25)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_nothing_is_lost_under_faults_on_postgresql(new_world: Callable[..., World]) -> None:
    run(new_world, range(5), n_events=25)
