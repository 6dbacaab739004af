"""F18, F20, F22, F23, F27 and F37: a study over a bad wire ends with the very numbers of one over a good wire."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from service.lifecycle.studies.create_study import create_study
from service.lifecycle.studies.plan_study import plan_study
from service.lifecycle.workers import register_worker
from service.settings import Settings
from tests.faults.proxy import FAULTS
from tests.faults.wire import Far, Shown, engine_on, run_over, search, serving, work

N_TRIALS = 6
CALLS = {"workers", "dispatch", "heartbeat", "report", "tell", "log", "artifacts", "model"}
"""All endpoints that a worker calls, but for `release`, which is tried once and left to the lease's expiry."""


@pytest.fixture
def far(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Far]:
    monkeypatch.setattr(register_worker, "HEARTBEAT_SECONDS", 0.01)
    with serving(Settings(home=tmp_path / "home", database_url=database_url, n_workers=0)) as far:
        yield far


@pytest.fixture(scope="module")
def as_without(tmp_path_factory: pytest.TempPathFactory) -> Shown:
    """What comes of the study when nothing goes wrong."""
    folder = tmp_path_factory.mktemp("good")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(register_worker, "HEARTBEAT_SECONDS", 0.01)
        with serving(Settings(home=folder / "home", n_workers=0)) as far:
            run_over(far, [], folder, n_trials=N_TRIALS)
            far.check()
            return far.shown()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_f18_to_f27_all_faults_of_a_wire_in_turn_change_nothing(far: Far, as_without: Shown, tmp_path: Path) -> None:
    wire = run_over(far, FAULTS, tmp_path, n_trials=N_TRIALS)
    assert wire.struck == CALLS
    assert far.shown() == as_without
    far.check()


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_f18_to_f27_one_fault_again_and_again_changes_nothing(
    fault: str, far: Far, as_without: Shown, tmp_path: Path
) -> None:
    wire = run_over(far, [fault], tmp_path, n_trials=N_TRIALS)
    assert wire.struck == CALLS
    assert far.shown() == as_without
    far.check()


CLOCKS: dict[str, Callable[[], float]] = {
    "a day behind": lambda: time.monotonic() - 86_400,
    "a day ahead": lambda: time.monotonic() + 86_400,
    "twice as fast": lambda: 2 * time.monotonic(),
    "half as fast": lambda: time.monotonic() / 2,
}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "clock",
    [pytest.param(name, marks=[] if name == "twice as fast" else pytest.mark.slow) for name in CLOCKS],
)
def test_f37_a_wrong_clock_of_a_worker_changes_nothing(clock: str, far: Far, as_without: Shown, tmp_path: Path) -> None:
    create_study(far.store, plan_study(search(N_TRIALS)))
    (tmp_path / "heartbeat").touch()
    work(far, far.url, engine_on(tmp_path), clock=CLOCKS[clock])
    assert far.shown() == as_without
    far.check()
