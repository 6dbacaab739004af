"""`benchmarks/ft_bench.py` trains what it plans, goes on where it was stopped, and its table holds what it found."""

import csv
import importlib
import json
import math
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
PLAN: dict[str, Any] = {
    "tasks": ["first", "second"],
    "search_space": {"epochs": {"type": "int", "low": 1, "high": 2}},
    "configurations": [{"epochs": 1}, {"epochs": 2}, {"epochs": 1}],
    "evaluations_per_epoch": 1,
}


@pytest.fixture(autouse=True)
def _benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)


def load(name: str) -> Any:
    return importlib.import_module(name)


def trial(task: str, configuration: int, seed: int, *losses: float, rows: int = 0) -> dict[str, Any]:
    found = {"task": task, "configuration": configuration, "seed": seed, "state": "complete", "seconds": 1.5}
    found["evaluations"] = [[loss, loss / 2, 0.5] for loss in losses]
    return found | ({"row_losses": [losses[-1]] * rows} if seed else {})


RUNS = [
    trial("second", 1, 0, 3.0, 2.0),
    trial("first", 0, 0, 1.0),
    trial("first", 2, 0),
    trial("first", 0, 1, 0.5, rows=3),
    trial("second", 1, 2, 2.5, 1.5, rows=2),
]


def test_a_table_has_each_run_in_its_place_and_nan_where_none_was(tmp_path: Path) -> None:
    table = load("ft_table").Table.of_runs(PLAN, RUNS)
    table.save(tmp_path / "table.npz")
    kept = load("ft_table").Table.load(tmp_path / "table.npz")
    assert (kept.tasks, kept.configurations) == (PLAN["tasks"], PLAN["configurations"])
    assert kept.curves_TNEM.dtype == np.float16
    assert kept.curves_TNEM[1, 1].tolist() == [[3.0, 1.5, 0.5], [2.0, 1.0, 0.5]]
    assert kept.curves_TNEM[0, 0, 0].tolist() == [1.0, 0.5, 0.5]
    assert np.isnan(kept.curves_TNEM[0, 0, 1]).all()
    assert np.isnan(kept.curves_TNEM[0, 1:]).all()
    assert kept.repeated_TK.tolist() == [[0], [1]]
    assert kept.repeats_TKSEM[1, 0, 1, :, 0].tolist() == [2.5, 1.5]
    assert kept.row_losses_TKSR[0, 0, 0].tolist() == [0.5, 0.5, 0.5]
    assert np.isnan(kept.row_losses_TKSR[1, 0, 1, 2])


def test_the_baseline_and_the_best_of_each_task_run_again_seed_by_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = load("ft_bench")
    monkeypatch.setattr(bench, "N_BEST", 1)
    done = [trial("first", 0, 0, 3.0), trial("first", 1, 0, 1.0, 2.0), trial("first", 2, 0, 1.5)]
    done += [trial("second", 0, 0, 1.0), trial("second", 1, 0), trial("second", 2, 0, math.inf)]
    again = [(job.task, job.configuration, job.seed) for job in bench.repeat_jobs(PLAN, done, 2)]
    one_seed = [("first", 0), ("first", 1), ("second", 0)]
    assert again == [(*job, seed) for seed in (1, 2) for job in one_seed]


def test_a_line_that_was_being_written_is_cut_off_and_the_others_are_kept(tmp_path: Path) -> None:
    file = tmp_path / "runs.jsonl"
    whole = "".join(json.dumps(run) + "\n" for run in RUNS)
    file.write_text(whole + '{"task": "fir')
    assert load("ft_bench").read_runs(file) == RUNS
    assert file.read_text() == whole


def test_configurations_are_drawn_alike_each_time_within_the_space() -> None:
    tasks = load("ft_tasks")
    drawn = tasks.draw_configurations(128)
    assert drawn == tasks.draw_configurations(128)
    assert len({json.dumps(one) for one in drawn}) == 128
    for one in drawn:
        assert list(one) == list(tasks.SEARCH_SPACE)
        for name, distribution in tasks.SEARCH_SPACE.items():
            if distribution["type"] == "categorical":
                assert one[name] in distribution["choices"]
            else:
                assert distribution["low"] <= one[name] <= distribution["high"]
    assert {one["frozen_layers"] for one in drawn} == set(range(7))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_whole_of_it_runs_once_and_not_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS / "gpu_check")
    models = load("random_models")
    words = models.words_of(models.SMALL["minilm"])
    models.save_random(tmp_path / "model", models.SMALL["minilm"], words)
    draw = random.Random(0)
    for task in PLAN["tasks"]:
        for split in ("train", "validation"):
            with (tmp_path / f"{task}-{split}.csv").open("w", newline="") as file:
                rows = [(" ".join(draw.choices(words[20 * (n % 2) :][:25], k=10)), f"l{n % 2}") for n in range(40)]
                csv.writer(file).writerows([("text", "label"), *rows])
    space = {"frozen_layers": {"type": "int", "low": 0, "high": 1}}
    plan = PLAN | {"search_space": space, "configurations": [{"frozen_layers": 0}, {"frozen_layers": 1}]}
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    command = [sys.executable, BENCHMARKS / "ft_bench.py", "--data", tmp_path, "--model", tmp_path / "model"]
    command += ["--out", tmp_path / "out", "--processes", "2", "--seeds", "1"]
    for n_new in (8, 0):
        ended = subprocess.run([*map(str, command)], capture_output=True, text=True, check=True)
        said = json.loads(ended.stdout)
        assert (said["finished"], said["of_these_now"], said["diverged"]) == (8, n_new, 0), ended.stderr
    table = load("ft_table").Table.load(tmp_path / "out" / "ft_table.npz")
    assert np.isfinite(table.curves_TNEM).all()
    best_TKS = table.repeats_TKSEM[..., 0].min(axis=-1)
    assert table.row_losses_TKSR.mean(axis=-1) == pytest.approx(best_TKS, rel=1e-3)
