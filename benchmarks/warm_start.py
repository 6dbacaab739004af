"""How good the trials are with which a study begins that takes them from others, on a table of real learning curves.

    PYTHONPATH=. OMP_NUM_THREADS=1 python benchmarks/warm_start.py TABLE.npz [--seeds 20] [--trials 20]

Each task in turn is the new one. On each of the others, those of the same data set left out, a study has tried the
baseline and as many configurations of the table as ``--trials`` says, drawn anew for each task and seed; the service's
own `portfolio` chooses from them, all of them being equally alike, as the table knows nothing of likeness. The regret
of a configuration on the new task is the distance of its value to the best of the table, as a share of the distance
from there to the median: 0 is the best, 1 the median configuration. Printed are means over tasks and seeds, as JSON: of
the baseline, and of the best of the first one to four that were taken and that were drawn by chance.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from ft_table import Table
from numpy.typing import NDArray
from optuna.trial import FrozenTrial, TrialState, create_trial
from replay.methods import FACTS
from replay.task import ReplayTask

from service.optuna_private import set_id
from service.search.space.distributions import to_optuna
from service.search.warm_start.portfolio import MAX_TAKEN, PastStudy, portfolio
from spezia.contract.study_spec import StudySpec


def spec_of(task: ReplayTask) -> StudySpec:
    """Return the spec of a study on a task."""
    return StudySpec.model_validate(
        {
            "name": task.name,
            "task": "text-classification",
            "model": {"name": "m"},
            "data": {"train": "train.csv"},
            "search_space": task.search_space,
            "training": {"evaluations_per_epoch": task.evaluations_per_epoch},
            "warm_start": "auto",
        }
    )


def past_study(task: ReplayTask, rows: list[int]) -> PastStudy:
    """Return a finished study on a task that has tried some rows of the table, the first of them as trial 0."""
    spec = spec_of(task)
    trials = [_trial(number, spec, task, row) for number, row in enumerate(rows)]
    return PastStudy(name=task.name, spec=spec, facts=FACTS, likeness=1.0, trials=trials)


def _trial(number: int, spec: StudySpec, task: ReplayTask, row: int) -> FrozenTrial:
    curve = task.losses_NE[row]
    trial = create_trial(
        state=TrialState.COMPLETE,
        value=float(task.best_N[row]),
        params=task.configurations[row],
        distributions=to_optuna(spec.search_space),
        intermediate_values={step: float(loss) for step, loss in enumerate(curve, start=1) if np.isfinite(loss)},
    )
    trial.number = number
    set_id(trial, number)
    return trial


def regrets_of(task: ReplayTask) -> NDArray[np.float64]:
    """Return the regret ``[N]`` of each configuration on a task."""
    best, median = float(task.best_N.min()), float(np.median(task.best_N))
    return (task.best_N - best) / (median - best)


def compare(tasks: list[ReplayTask], n_seeds: int, n_trials: int) -> dict[str, Any]:
    """Return mean regrets over all tasks and seeds."""
    baseline, taken, drawn = [], [], []
    for new in tasks:
        regrets_N = regrets_of(new)
        others = [one for one in tasks if one.name.split("-")[0] != new.name.split("-")[0]]
        baseline.append(float(regrets_N[0]))
        for seed in range(n_seeds):
            generator = np.random.default_rng(seed)
            tried = [
                [0, *generator.choice(np.arange(1, len(one.configurations)), n_trials, replace=False).tolist()]
                for one in others
            ]
            past = [past_study(one, rows) for one, rows in zip(others, tried, strict=True)]
            chosen = portfolio(spec_of(new), past, MAX_TAKEN, known=[new.configurations[0]])
            rows = [new.configurations.index(one.params) for one in chosen]
            by_chance = generator.choice(np.arange(1, len(regrets_N)), MAX_TAKEN, replace=False)
            taken.append(_best_of_first(regrets_N[rows]))
            drawn.append(_best_of_first(regrets_N[by_chance]))
    return {
        "tasks": [one.name for one in tasks],
        "configurations": len(tasks[0].configurations),
        "trials of each study": n_trials,
        "baseline": round(float(np.mean(baseline)), 3),
        "best of the first 1 to 4 taken": np.mean(taken, axis=0).round(3).tolist(),
        "best of 1 to 4 drawn by chance": np.mean(drawn, axis=0).round(3).tolist(),
    }


def _best_of_first(regrets: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the best of the first, of the first two, …; where fewer were taken, the best stays what it is."""
    best = np.minimum.accumulate(regrets)
    return np.pad(best, (0, MAX_TAKEN - len(best)), mode="edge")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--trials", type=int, default=20)
    given = parser.parse_args()
    table = Table.load(given.table)
    tasks = [ReplayTask.of_table(table, name) for name in table.tasks]
    print(json.dumps(compare(tasks, given.seeds, given.trials), indent=1))


if __name__ == "__main__":
    main()
