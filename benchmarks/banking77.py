"""Banking77 end to end, as a user would search it: all-MiniLM-L6-v2, ten trials by `spezia run`.

    OMP_NUM_THREADS=1 python benchmarks/banking77.py DATA [--intents 20] [--workers 2] [--home DIR]

DATA holds ``banking77_train.csv`` and ``banking77_test.csv`` (columns ``text``, ``category``; Casanueva et al. 2020).
``--intents`` keeps the first so many of the 77 in Python's order of strings, for machines without a GPU: a choice by
name, not by result. All training rows of those intents are used, a stratified fifth of them (the study's default) for
validation; the winner is scored on all their test rows, once. Prints one JSON line. A kept ``--home`` is gone on with.
"""

import argparse
import csv
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from spezia.contract.best_trial import BestTrial

NAME = "banking77"
SEARCH_SPACE = {
    "learning_rate": {"type": "float", "low": 1e-4, "high": 1e-3, "log": True},
    "epochs": {"type": "int", "low": 4, "high": 10},
    "dropout": {"type": "float", "low": 0.0, "high": 0.2},
    "weight_decay": {"type": "float", "low": 0.0, "high": 0.1},
    "lr_schedule": {"type": "categorical", "choices": ["linear", "cosine"]},
    "frozen_layers": {"type": "int", "low": 0, "high": 3},
}
"""Rates above BERT's own 5e-5: small encoders take more (Turc et al. 2019, up to 3e-4 and beyond)."""


def main(data: Path, intents: int, workers: int, home: Path) -> None:
    names, rows = write_tables(data, home, intents)
    study = home / f"{NAME}.json"
    study.write_text(json.dumps(make_study(), indent=2))
    started_at = time.monotonic()
    best = run(study, workers, home)
    result = {
        "benchmark": NAME,
        "intents": names,
        "rows": rows,
        "best_validation_accuracy": best.value,
        "test_accuracy": best.metrics["test_accuracy"],
        "baseline_validation_accuracy": best.baseline.value if best.baseline else None,
        "params": best.params,
        "best_trial": best.number,
        "trials": best.trials.model_dump(),
        "metrics": best.metrics,
        "device_seconds": round(best.device_seconds, 1),
        "wall_seconds": round(time.monotonic() - started_at, 1),
        "workers": workers,
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "versions": {package: version(package) for package in ("torch", "transformers", "optuna")},
    }
    print(json.dumps(result))


def write_tables(data: Path, home: Path, intents: int) -> tuple[int, dict[str, int]]:
    """Keep the rows of the first ``intents``; return how many intents and rows of each table that are."""
    tables = {}
    for split in ("train", "test"):
        with (data / f"banking77_{split}.csv").open(newline="", encoding="utf-8") as file:
            tables[split] = list(csv.DictReader(file))
    kept = set(sorted({row["category"] for row in tables["train"]})[:intents])
    counts = {}
    for split, rows in tables.items():
        chosen = [row for row in rows if row["category"] in kept]
        with (home / f"{split}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["text", "category"])
            writer.writeheader()
            writer.writerows(chosen)
        counts[split] = len(chosen)
    return len(kept), counts


def make_study() -> dict[str, Any]:
    return {
        "name": NAME,
        "task": "text-classification",
        "model": {"name": "sentence-transformers/all-MiniLM-L6-v2"},
        "data": {
            "train": "train.csv",
            "test": "test.csv",
            "columns": {"text": "text", "label": "category"},
            "max_length": 64,
        },
        "objective": {"metric": "accuracy"},
        "search_space": SEARCH_SPACE,
        "fixed": {"batch_size": 32},
        "sampler": {"name": "tpe", "options": {"n_startup_trials": 5}},
        "pruner": {"name": "median", "options": {"n_startup_trials": 3, "n_warmup_steps": 2}},
        "n_trials": 10,
        "seed": 0,
    }


def run(study: Path, workers: int, home: Path) -> BestTrial:
    command = [sys.executable, "-m", "spezia.cli", "run", str(study), "--workers", str(workers), "--json"]
    environment = os.environ | {"SPEZIA_HOME": str(home / ".spezia")}
    ended = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return BestTrial.model_validate_json(ended.stdout)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--intents", type=int, default=77)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--home", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = given.home or Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        main(given.data, given.intents, given.workers, place)
