"""`benchmarks/warm_start.py` says how good the trials are that a new study takes from studies on other tasks."""

import importlib
from pathlib import Path

import pytest

from tests.test_search_quality import made_up_table

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.mark.slow
def test_on_tasks_whose_best_rates_lie_close_what_is_taken_is_better_than_chance(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    bench, replay = (importlib.import_module(name) for name in ("warm_start", "replay.task"))
    table = made_up_table(n_tasks=3)
    tasks = [replay.ReplayTask.of_table(table, name) for name in table.tasks]
    found = bench.compare(tasks, n_seeds=2, n_trials=12)
    taken, drawn = found["best of the first 1 to 4 taken"], found["best of 1 to 4 drawn by chance"]
    assert taken == sorted(taken, reverse=True)
    assert taken[0] < drawn[0] / 2
    assert taken[0] < found["baseline"]
