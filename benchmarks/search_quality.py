"""Which way to search finds a good configuration soonest, replayed on a table of real learning curves.

    PYTHONPATH=. OMP_NUM_THREADS=1 python benchmarks/search_quality.py TABLE.npz --out SEARCHES.jsonl [--seeds 20]
    PYTHONPATH=. python benchmarks/search_quality.py TABLE.npz --out SEARCHES.jsonl --summary
    PYTHONPATH=. OMP_NUM_THREADS=1 python benchmarks/search_quality.py TABLE.npz --out STUDIES.jsonl --studies

Every method searches every task under every seed until it has seen a value that 5 % of the task's configurations
reach, or has spent its budget; ``--slack`` loosens that value by so many standard deviations of a configuration's value
between seeds. What it costs is the time of all workers, in trials of the longest kind, starts and pauses included; a
search that never got there counts as its whole budget. A proposal trains like the nearest configuration of as many
epochs (`replay/task.py`). Methods whose names end in ``-12`` search at the largest number of epochs only, as is usual
where epochs are what is saved. Those that end in ``-warm`` begin with four configurations that together were best on
the other tasks, those of the same data set left out.

With ``--studies`` each method is a study of so many trials instead, which is carried out to its end: the summary says
what it cost, and how far its best complete trial is from the task's best configuration.

The searches are lines of the file, and those that are there are not made again. The summary says for each method and
number of workers, as JSON, how many times less it cost than random search without pruning, or than another method by
``--reference``: the geometric mean over tasks of the ratio of mean costs, with a 95 % interval by a bootstrap over
tasks and seeds. Of each task it says how much a configuration's value differs between seeds: what the searches differ
by with one ``--slack`` and not with another is chance.
"""

import argparse
import json
import math
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from ft_table import Table
from replay.lifecycle import make_template
from replay.methods import METHODS, REFERENCE, STUDIES, THROUGH_THE_SERVICE, Setting
from replay.simulate import Costs, simulate
from replay.summary import describe, noise_of, summarise, summarise_studies
from replay.task import ReplayTask, portfolio

SHARE = 0.05
COSTS = Costs(start=0.005, save=0.01, load=0.01)
"""MiniLM's on two cores, where a trial of the longest kind takes some 60 s: 0.3 s to make a model, 1.1 s to save and
load one."""
N_PORTFOLIO = 4


@dataclass(frozen=True, kw_only=True)
class Search:
    """One search to be replayed."""

    method: str
    task: str
    workers: int
    seed: int
    slack: float
    budget: float


class Replay:
    """Replays searches on a table, in one process."""

    def __init__(self, table: Table, folder: Path) -> None:
        self._tasks = {name: ReplayTask.of_table(table, name) for name in table.tasks}
        self._noise = dict(zip(table.tasks, noise_of(table), strict=True))
        self._folder = folder

    def run(self, search: Search) -> dict[str, Any]:
        task = self._tasks[search.task]
        longest = max(task.search_space["epochs"]["choices"])
        fixed = {"epochs": longest} if "-12" in search.method else {}
        others = [one for one in self._tasks.values() if family(one.name) != family(task.name)]
        target = task.target(SHARE) + (search.slack * self._noise[task.name] if search.slack else 0.0)
        if search.method in STUDIES:
            target = -math.inf
        began = time.process_time()
        with ExitStack() as stack:
            setting = Setting(
                task=task,
                workers=search.workers,
                seed=search.seed,
                fixed=fixed,
                first=portfolio(others, N_PORTFOLIO, fixed) if search.method.endswith("-warm") else [],
                folder=self._folder,
                stack=stack,
            )
            method = (METHODS | THROUGH_THE_SERVICE | STUDIES)[search.method](setting)
            found = simulate(task, method, workers=search.workers, budget=search.budget, target=target, costs=COSTS)
        return vars(search) | vars(found) | {"cpu_seconds": round(time.process_time() - began, 3)}


def family(task: str) -> str:
    """Return the data set that a task is from."""
    return task.split("-")[0]


_REPLAY: list[Replay] = []
"""The replay of a process of the pool."""


def begin(file: Path, folder: Path) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    _REPLAY.append(Replay(Table.load(file), folder))


def run(search: Search) -> dict[str, Any]:
    return _REPLAY[0].run(search)


def main(
    file: Path,
    out: Path,
    methods: Sequence[str],
    n_seeds: int,
    workers: Sequence[int],
    slacks: Sequence[float],
    budget: float,
    processes: int,
) -> None:
    table = Table.load(file)
    if any(slacks) and np.isnan(noise_of(table)).any():
        sys.exit(f"{file} has a task of which no configuration ran under several seeds, so that --slack means nothing")
    done = read(out)
    keys = list(Search.__dataclass_fields__)
    known = {tuple(line[key] for key in keys) for line in done}
    searches = [
        Search(method=method, task=task, workers=n_workers, seed=seed, slack=slack, budget=budget)
        for seed in range(n_seeds)
        for slack in slacks
        for n_workers in workers
        for method in methods
        for task in table.tasks
    ]
    left = [one for one in searches if tuple(vars(one)[key] for key in keys) not in known]
    with tempfile.TemporaryDirectory() as folder, out.open("a") as log:
        make_template(Path(folder))
        with ProcessPoolExecutor(processes, initializer=begin, initargs=(file, Path(folder))) as pool:
            for line in pool.map(run, left):
                log.write(json.dumps(line) + "\n")
                log.flush()


def read(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("table", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="the searches, one JSON object a line")
    parser.add_argument("--methods", nargs="+", choices=METHODS | THROUGH_THE_SERVICE | STUDIES)
    parser.add_argument("--studies", action="store_true", help="carry out whole studies")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--slack", type=float, nargs="+", default=[0.0])
    parser.add_argument("--budget", type=float, default=30.0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--reference", choices=METHODS | THROUGH_THE_SERVICE, default=REFERENCE)
    parser.add_argument("--summary", action="store_true", help="search nothing, and say what was found")
    given = parser.parse_args()
    if not given.summary:
        main(
            given.table,
            given.out,
            given.methods or list(STUDIES if given.studies else METHODS),
            given.seeds,
            given.workers,
            given.slack,
            math.inf if given.studies else given.budget,
            given.processes,
        )
    table, lines = Table.load(given.table), read(given.out)
    found = summarise_studies(table, lines) if given.studies else summarise(lines, given.reference)
    for line in (*describe(table, SHARE), *found):
        print(json.dumps(line))
