"""Studies that simulated workers carry out: how their device seconds are shared out among trials of many lengths."""

import math
import random
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest

from service.lifecycle.studies.device_budget import Run, Work, estimate
from service.store.sql.engine import open_engine
from service.store.sql.migrate import migrate
from spezia.contract.study_spec import Params
from tests.faults.world import World, empty
from tests.service.hand_worker import FACTS, spec
from tests.service.lifecycle.studies.simulated_fleet import OVERSHOOT_SECONDS, Fleet, Pace

SEARCH_SPACE = {
    "learning_rate": {"type": "float", "low": 1e-5, "high": 1e-3, "log": True},
    "epochs": {"type": "int", "low": 1, "high": 20},
    "batch_size": {"type": "categorical", "choices": [4, 8, 16, 32, 64]},
}


def by_epochs(_params: Params, _number: int) -> float:
    return 3.0


def by_steps(params: Params, _number: int) -> float:
    batch_size = params["batch_size"]
    assert isinstance(batch_size, int)
    return 0.3 * math.ceil(FACTS["train_rows"] / batch_size)


def by_both(params: Params, number: int) -> float:
    return 0.3 * by_epochs(params, number) + 0.3 * by_steps(params, number)


def by_both_unevenly(params: Params, number: int) -> float:
    return by_both(params, number) * random.Random(number).uniform(0.7, 1.6)


def by_a_param_that_nobody_knows_of(params: Params, number: int) -> float:
    return by_both(params, number) * (3 if float(params["learning_rate"]) > 1e-4 else 1)


def first_short_later_long(params: Params, number: int) -> float:
    return by_both(params, number) * (0.1 if number < 2 else 1.0)


PACES = (
    by_epochs,
    by_steps,
    by_both,
    by_both_unevenly,
    by_a_param_that_nobody_knows_of,
    first_short_later_long,
)
HONEST_PACES = PACES[:4]
"""Those that epochs and batch size decide, but for some noise."""
N_WORKERS = (1, 4, 16)
LIMITS = ((20, 200.0), (20, 600.0), (100, 600.0), (100, 3000.0))
"""Numbers of trials and device seconds: one trial takes 1 to 150 s."""
QUICK = (
    (by_both, 1, 100, 300.0),
    (first_short_later_long, 4, 100, 300.0),
    (by_steps, 16, 30, 200.0),
    (by_a_param_that_nobody_knows_of, 4, 20, 200.0),
)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    engine = open_engine(f"sqlite:///{tmp_path / 'spezia.db'}")
    migrate(engine)
    yield World(engine, tmp_path / "artifacts")
    engine.dispose()


@pytest.mark.parametrize(("pace", "n_workers", "n_trials", "device_seconds"), QUICK)
def test_a_study_uses_its_device_seconds_whatever_its_trials_take(
    world: World, pace: Pace, n_workers: int, n_trials: int, device_seconds: float
) -> None:
    carry_out(world, pace, n_workers, n_trials, device_seconds)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("n_workers", N_WORKERS)
def test_few_trials_are_cut_off_of_studies_with_a_budget(tmp_path: Path, n_workers: int) -> None:
    engine = open_engine(f"sqlite:///{tmp_path / 'spezia.db'}")
    migrate(engine)
    n_honest = n_honest_cut_off = 0
    for pace, (n_trials, device_seconds) in product(PACES, LIMITS):
        fleet = carry_out(World(engine, tmp_path / "artifacts"), pace, n_workers, n_trials, device_seconds)
        empty(engine, tmp_path / "artifacts")
        if pace in HONEST_PACES:
            n_honest += len(fleet.used)
            n_honest_cut_off += sum(was_cut_off for _, _, was_cut_off in fleet.used)
    engine.dispose()
    assert n_honest_cut_off < 0.05 * n_honest


def carry_out(world: World, pace: Pace, n_workers: int, n_trials: int, device_seconds: float) -> Fleet:
    """Carry out a study to its end, and check what holds of every study with a budget."""
    study = spec(n_trials=n_trials, device_seconds=device_seconds, search_space=SEARCH_SPACE)
    name = world.create(study)
    fleet = Fleet(world, pace, n_workers)
    fleet.work()
    world.check(is_quiet=True)
    assert world.complaints == []
    assert world.state_of(name) == "complete"
    used = math.fsum(seconds for _, seconds, _ in fleet.used)
    assert used <= device_seconds + n_workers * OVERSHOOT_SECONDS + 1e-6
    assert used >= 0.95 * device_seconds or len(fleet.used) == n_trials
    return fleet


def run(seconds: float, epochs: float, steps: float, *, is_measured: bool = True) -> Run:
    return Run(seconds=seconds, work=Work(epochs, steps), is_complete=is_measured, is_measured=is_measured)


def test_nothing_is_known_without_a_run() -> None:
    assert not estimate(Work(1, 1), []).is_known


def test_what_has_only_been_cut_off_says_how_long_it_takes_at_least() -> None:
    estimated = estimate(Work(4, 40), [run(10.0, 1, 10, is_measured=False)])
    assert (estimated.seconds, estimated.is_known) == (40.0, False)


@pytest.mark.parametrize("epoch_seconds", [0.0, 1.0, 50.0])
@pytest.mark.parametrize("step_seconds", [0.01, 1.0])
def test_a_trial_of_the_same_batch_size_is_estimated_exactly(epoch_seconds: float, step_seconds: float) -> None:
    estimated = estimate(Work(9, 63), [run(epoch_seconds + 7 * step_seconds, 1, 7)])
    assert estimated.seconds == pytest.approx(9 * epoch_seconds + 63 * step_seconds)


@pytest.mark.parametrize("epoch_seconds", [0.0, 1.0, 50.0])
@pytest.mark.parametrize("step_seconds", [0.01, 1.0])
def test_a_trial_of_another_batch_size_is_never_underestimated(epoch_seconds: float, step_seconds: float) -> None:
    estimated = estimate(Work(2, 200), [run(epoch_seconds + 10 * step_seconds, 1, 10)])
    assert estimated.seconds >= 2 * epoch_seconds + 200 * step_seconds
