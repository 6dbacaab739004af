"""The simulation bites: without any one of the guards it fails."""

from collections.abc import Callable, Sequence

import pytest

from tests.faults.mutants import CONFIRM_MUTANTS, MUTANTS, RUNG_MUTANTS, SENDING_MUTANTS, Cut, Swap
from tests.faults.simulation import Simulation
from tests.faults.world import World

SEEDS = range(1000, 1060)
NOTICED_AT = {
    "a stale heartbeat": 1039,
    "a stale report or upload": 1026,
    "a stale result or release": 1016,
    "the reaper takes what was renewed": 1012,
    "the cache is filled before the commit": 1013,
    "a replayed report is decided again": 1012,
    "a pruned trial may be complete": 1014,
    "values of a part of the rows outlive their attempt": 1065,
}
"""Seeds that have noticed a mutant once, to be tried first: those before took longer."""


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_missing_guard_is_noticed(
    mutant: str, new_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    expect_notice(MUTANTS[mutant], new_world, monkeypatch, seeds_for(mutant))


@pytest.mark.slow
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("mutant", RUNG_MUTANTS)
def test_a_missing_guard_of_rungs_is_noticed(
    mutant: str, new_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    # a rung needs several trials until its cap holds one back
    expect_notice(RUNG_MUTANTS[mutant], new_world, monkeypatch, seeds_for(mutant), n_events=100, n_trials=12)


@pytest.mark.slow
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("mutant", CONFIRM_MUTANTS)
def test_a_missing_guard_of_confirmation_is_noticed(
    mutant: str, new_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    expect_notice(CONFIRM_MUTANTS[mutant], new_world, monkeypatch, SEEDS)


@pytest.mark.slow
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("mutant", SENDING_MUTANTS)
def test_a_missing_guard_of_sending_is_noticed(
    mutant: str, new_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    expect_notice(SENDING_MUTANTS[mutant], new_world, monkeypatch, SEEDS, n_events=100, n_trials=20, sends=True)


def seeds_for(mutant: str) -> Sequence[int]:
    return [NOTICED_AT[mutant], *SEEDS] if mutant in NOTICED_AT else SEEDS


def expect_notice(
    cuts: Sequence[Cut | Swap],
    new_world: Callable[..., World],
    monkeypatch: pytest.MonkeyPatch,
    seeds: Sequence[int],
    n_events: int = 25,
    n_trials: int = 3,
    *,
    sends: bool = False,
) -> None:
    for cut in cuts:
        cut.apply(monkeypatch)
    is_noticed = any(is_caught(new_world, seed, n_events, n_trials, sends) for seed in seeds)
    assert is_noticed, f"{len(seeds)} seeds have not noticed"


def is_caught(new_world: Callable[..., World], seed: int, n_events: int, n_trials: int, sends: bool) -> bool:
    try:
        return bool(Simulation(new_world(n_services=2), seed, n_trials, sends=sends).run(n_events))
    except Exception:
        # the service itself may stumble over what it should never have stored
        return True
