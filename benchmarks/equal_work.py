"""Equal work: a fixed list of configurations, no sampler, no pruner; what counts is when the last one is done.

    python benchmarks/equal_work.py WORK MODEL_DIR

WORK holds ``train.csv``, ``validation.csv`` (columns ``text``, ``label``) and ``configs.json`` (a list of
objects with learning_rate, batch_size, epochs, dropout, weight_decay, schedule, frozen_layers). Prints one JSON
line: the makespan from the start of this process to the last result, and the final validation losses by which
equal work can be checked. Peers that run the same list print the same line.
"""

import json
import math
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from service.cli.local_service import local_service
from service.settings import Settings
from spezia.client import Client
from spezia.contract.study_spec import StudySpec

STARTED_AT = time.monotonic()
WARMUP_STEPS = 5
"""As the peers have it; ours is a share of all steps, so each trial gets its own."""


def main(work: Path, model: Path) -> None:
    configs = json.loads((work / "configs.json").read_text())
    n_rows = len((work / "train.csv").read_text().splitlines()) - 1
    with (
        tempfile.TemporaryDirectory() as home,
        local_service(Settings(home=Path(home)), [work, model]) as (url, _),
        Client(url) as client,
    ):
        name = client.create_study(make_spec(work, model, configs, n_rows)).name
        study = client.wait(name, poll_seconds=0.2)
        makespan = time.monotonic() - STARTED_AT
        if study.state != "complete" or study.trials.complete != len(configs):
            sys.exit(f"not equal work: {study.state}, {study.trials}, {study.failure}")
        trials = [client.get_trial(name, trial.number) for trial in client.list_trials(name)]
    result = {
        "system": "spezia",
        "makespan_s": round(makespan, 1),
        "device_seconds": round(study.device_seconds, 1),
        "losses": [round(trial.intermediate_values[-1].value, 4) for trial in trials],
    }
    print(json.dumps(result))


def make_spec(work: Path, model: Path, configs: list[dict[str, Any]], n_rows: int) -> StudySpec:
    names = ["learning_rate", "batch_size", "epochs", "dropout", "weight_decay", "frozen_layers"]
    enqueue = [
        {name: config[name] for name in names}
        | {"lr_schedule": config["schedule"], "warmup_ratio": warmup_ratio(config, n_rows)}
        for config in configs
    ]
    return StudySpec.model_validate(
        {
            "name": "equal-work",
            "task": "text-classification",
            "model": {"name": str(model.absolute())},
            "data": {
                "train": str((work / "train.csv").absolute()),
                "validation": str((work / "validation.csv").absolute()),
            },
            "search_space": {
                "learning_rate": {"type": "float", "low": 1e-6, "high": 1e-2},
                "batch_size": {"type": "int", "low": 1, "high": 128},
                "epochs": {"type": "int", "low": 1, "high": 10},
                "dropout": {"type": "float", "low": 0.0, "high": 0.9},
                "weight_decay": {"type": "float", "low": 0.0, "high": 1.0},
                "frozen_layers": {"type": "int", "low": 0, "high": 6},
                "lr_schedule": {"type": "categorical", "choices": ["linear", "cosine", "constant_with_warmup"]},
                "warmup_ratio": {"type": "float", "low": 0.0, "high": 0.5},
            },
            "enqueue": enqueue,
            "baseline": False,
            "n_trials": len(configs),
            "sampler": {"name": "random"},
            "training": {"early_stopping_patience": None, "keep_models": 0},
        }
    )


def warmup_ratio(config: dict[str, Any], n_rows: int) -> float:
    n_steps = math.ceil(n_rows / config["batch_size"]) * config["epochs"]
    # the trainer rounds up
    return (WARMUP_STEPS - 0.5) / n_steps


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
