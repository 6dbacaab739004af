"""Spezia's side: a service and local workers carry out the configurations, as for any study.

    python benchmarks/equal_work/spezia_search.py WORK MODEL

Prints one JSON line: final validation losses, when the last one was known, versions, and who did what when, which the
workers' log says (`trainer/supervisor/`).
"""

import json
import math
import os
import sys
import tempfile
from collections.abc import Iterator
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from time import time
from typing import Any

from service.cli.local_service import local_service
from service.settings import Settings
from spezia import Client, StudySpec

NAME = "equal-work"
WARMUP_STEPS = 5
"""As the peers have it; ours is a share of all steps, so each trial gets its own."""


def main(work: Path, model: Path) -> None:
    # objects and not text, of the workers as well
    os.environ |= {"SPEZIA_LOG_FORMAT": "json", "SPEZIA_LOG_LEVEL": "info"}
    configurations = json.loads((work / "configurations.json").read_text())
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        with local_service(Settings(home=home), [work, model]) as (url, _), Client(url) as client:
            client.create_study(make_spec(work, model, configurations))
            study = client.wait(NAME, poll_seconds=0.2)
            ended_at = time()
            trials = [client.get_trial(NAME, trial.number) for trial in client.list_trials(NAME)]
        log = (home / "service.log").read_text()
    if study.state != "complete" or study.trials.complete != len(configurations):
        sys.exit(f"not equal work: {study.state}, {study.trials}, {study.failure}\n{log}")
    losses = [trial.intermediate_values[-1].value for trial in trials]
    versions = {package: version(package) for package in ("torch", "transformers", "optuna")}
    result = {"losses": losses, "ended_at": ended_at, "versions": versions}
    print(json.dumps(result | read_times(log.splitlines())))


def make_spec(work: Path, model: Path, configurations: list[dict[str, Any]]) -> StudySpec:
    n_rows = len((work / "train.csv").read_text().splitlines()) - 1
    enqueue = []
    for configuration in configurations:
        params = dict(configuration)
        params["lr_schedule"] = params.pop("schedule")
        n_steps = math.ceil(n_rows / params["batch_size"]) * params["epochs"]
        # the trainer rounds steps up
        params["warmup_ratio"] = min(0.5, (WARMUP_STEPS - 0.5) / n_steps)
        enqueue.append(params)
    return StudySpec.model_validate(
        {
            "name": NAME,
            "task": "text-classification",
            "model": {"name": str(model.absolute())},
            "data": {split: str((work / f"{split}.csv").absolute()) for split in ("train", "validation")},
            "search_space": {
                "learning_rate": {"type": "float", "low": 1e-6, "high": 1e-2},
                "batch_size": {"type": "int", "low": 1, "high": 128},
                "epochs": {"type": "int", "low": 1, "high": 10},
                "dropout": {"type": "float", "low": 0.0, "high": 0.9},
                "weight_decay": {"type": "float", "low": 0.0, "high": 1.0},
                "frozen_layers": {"type": "int", "low": 0, "high": max(one["frozen_layers"] for one in enqueue)},
                "lr_schedule": {"type": "categorical", "choices": ["linear", "cosine", "constant_with_warmup"]},
                "warmup_ratio": {"type": "float", "low": 0.0, "high": 0.5},
            },
            "enqueue": enqueue,
            "baseline": False,
            "n_trials": len(configurations),
            "sampler": {"name": "random"},
            "training": {
                "early_stopping_patience": None,
                "keep_models": 0,
                "precision": (work / "precision.txt").read_text(),
            },
        }
    )


def read_times(lines: list[str]) -> dict[str, Any]:
    """Return the times that `idle.py` reads, from log lines of workers."""
    engines: dict[str, float] = {}
    workers: dict[str, tuple[float, float]] = {}
    work: list[dict[str, Any]] = []
    open_work: dict[str, dict[str, Any]] = {}
    for at, line in parse(lines):
        worker, message = line["worker_id"], line["message"]
        if message == "starting an engine":
            engines[worker] = at
        elif " registered: " in message:
            workers[worker] = engines[worker], at
        elif message.endswith(" begins"):
            begun = {"worker": worker, "kind": line["work"], "number": line.get("trial"), "began_at": at}
            open_work[worker] = begun | {"first_step_at": None, "reports": []}
        elif message == "first optimizer step":
            open_work[worker] |= {"first_step_at": at, "trunk_seconds": line["trunk_seconds"]}
        elif "report_seconds" in line:
            open_work[worker]["reports"].append([at - line["report_seconds"], at])
        elif ": done after " in message:
            work.append(open_work.pop(worker) | {"ended_at": at})
    return {"workers": workers, "work": work}


def parse(lines: list[str]) -> Iterator[tuple[float, dict[str, Any]]]:
    """Yield the lines of workers, with seconds since 1970."""
    for text in lines:
        if text.startswith("{") and "worker_id" in (line := json.loads(text)):
            yield datetime.fromisoformat(line["at"]).timestamp(), line


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
