"""Optuna with an SQLite study around `transformers.Trainer`.

    python optuna_trainer.py WORK MODEL [--tuned] [--processes N]

Trials run one after another, as in Optuna's tutorial, or in processes that share study and cores. Prints one JSON
line in the form of `../spezia_search.py`.
"""

import argparse
import json
import multiprocessing
import os
import tempfile
from importlib.metadata import version
from pathlib import Path
from time import time
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import TrialState

NAME = "equal-work"
SPACE: dict[str, BaseDistribution] = {
    "learning_rate": FloatDistribution(1e-6, 1e-2, log=True),
    "batch_size": IntDistribution(1, 128),
    "epochs": IntDistribution(1, 10),
    "dropout": FloatDistribution(0.0, 0.9),
    "weight_decay": FloatDistribution(0.0, 1.0),
    "schedule": CategoricalDistribution(["linear", "cosine", "constant_with_warmup"]),
    "frozen_layers": IntDistribution(0, 100),
}


def main(work: Path, model: Path, *, n_processes: int, is_tuned: bool) -> None:
    configurations: list[dict[str, Any]] = json.loads((work / "configurations.json").read_text())
    with tempfile.TemporaryDirectory() as folder:
        times, storage = Path(folder) / "times.jsonl", f"sqlite:///{folder}/study.db"
        study = optuna.create_study(study_name=NAME, storage=storage)
        for configuration in configurations:
            study.enqueue_trial(configuration)
        arguments = (len(configurations), storage, work, model, times, is_tuned)
        if n_processes == 1:
            carry_out(*arguments)
        else:
            os.environ["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // n_processes))
            spawning = multiprocessing.get_context("spawn")
            processes = [spawning.Process(target=carry_out, args=arguments) for _ in range(n_processes)]
            for process in processes:
                process.start()
            for process in processes:
                process.join()
        trials = study.get_trials(deepcopy=False)[: len(configurations)]
        assert all(trial.state == TrialState.COMPLETE for trial in trials), [trial.state for trial in trials]
        lines = [json.loads(line) for line in times.read_text().splitlines()]
    first = {line["worker"]: line for line in reversed(lines)}
    # a process that has nothing left to do still takes a while to end, which no user need wait for
    result = {
        "losses": [trial.value for trial in trials],
        "ended_at": max(line["ended_at"] for line in lines),
        "workers": {worker: (line["imports_at"], line["began_at"]) for worker, line in first.items()},
        "work": lines,
        "versions": {package: version(package) for package in ("torch", "transformers", "optuna")},
    }
    print(json.dumps(result))


def carry_out(n_trials: int, storage: str, work: Path, model: Path, times: Path, is_tuned: bool) -> None:
    """Take configurations from the study's queue until there are none."""
    imports_at = time()
    from trial import fine_tune  # noqa: PLC0415 - only who trains needs torch

    study = optuna.load_study(study_name=NAME, storage=storage)
    while (trial := study.ask(SPACE)).number < n_trials:
        loss, done = fine_tune(
            trial.params, work, model, lambda step, loss: trial.report(loss, step), is_tuned=is_tuned
        )
        study.tell(trial, loss)
        with times.open("a") as file:
            file.write(json.dumps(done | {"number": trial.number, "imports_at": imports_at}) + "\n")
    study.tell(trial, state=TrialState.FAIL)


if __name__ == "__main__":
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    parser = argparse.ArgumentParser()
    parser.add_argument("work", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--tuned", action="store_true")
    parser.add_argument("--processes", type=int, default=1)
    options = parser.parse_args()
    main(options.work, options.model, n_processes=options.processes, is_tuned=options.tuned)
