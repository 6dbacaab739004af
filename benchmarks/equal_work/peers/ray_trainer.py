"""Ray Tune around `transformers.Trainer`, a trial of one CPU for each core at a time.

    python ray_trainer.py WORK MODEL [--tuned]

As written: an actor for each trial. Tuned: actors are used again, and nothing is logged for TensorBoard. Prints one
JSON line in the form of `../spezia_search.py`.
"""

import argparse
import json
import os
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from time import time
from typing import Any

os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AIR_NEW_OUTPUT": "0"}

import ray
from ray import tune


def main(work: Path, model: Path, *, is_tuned: bool) -> None:
    if is_tuned:
        os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    configurations = json.loads((work / "configurations.json").read_text())
    n_workers, here = os.cpu_count() or 1, str(Path(__file__).parent)
    with tempfile.TemporaryDirectory() as folder:
        times = Path(folder) / "times.jsonl"

        def carry_out(given: dict[str, Any]) -> None:
            imports_at = time()
            sys.path.insert(0, here)
            from trial import fine_tune  # noqa: PLC0415 - in the actor, and not in this process

            def report(_step: int, loss: float) -> None:
                tune.report({"loss": loss})

            _, done = fine_tune(given["configuration"], work, model, report, is_tuned=is_tuned)
            with times.open("a") as file:
                file.write(json.dumps(done | {"number": given["number"], "imports_at": imports_at}) + "\n")

        ray.init(num_cpus=n_workers, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
        results = tune.Tuner(
            tune.with_resources(carry_out, {"cpu": 1}),
            param_space={
                "number": tune.grid_search(list(range(len(configurations)))),
                "configuration": tune.sample_from(lambda given: configurations[given["number"]]),
            },
            tune_config=tune.TuneConfig(metric="loss", mode="min", reuse_actors=is_tuned),
            run_config=tune.RunConfig(verbose=0, storage_path=folder),
        ).fit()
        ended_at = time()
        lines = [json.loads(line) for line in times.read_text().splitlines()]
        losses = {result.config["number"]: result.metrics["loss"] for result in results}
    workers, work_lines = by_slot(lines, n_workers)
    result = {
        "losses": [losses[number] for number in range(len(configurations))],
        "ended_at": ended_at,
        "workers": workers,
        "work": work_lines,
        "versions": {package: version(package) for package in ("torch", "transformers", "ray")},
    }
    print(json.dumps(result))


def by_slot(lines: list[dict[str, Any]], n_slots: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Name the worker of each trial by the place that it had, since an actor may live for one trial only."""
    free_at = dict.fromkeys(map(str, range(n_slots)), 0.0)
    workers: dict[str, tuple[float, float]] = {}
    placed = []
    for line in sorted(lines, key=lambda line: line["began_at"]):
        slot = min(free_at, key=lambda slot: free_at[slot])
        workers.setdefault(slot, (line["imports_at"], line["began_at"]))
        free_at[slot] = line["ended_at"]
        placed.append(line | {"worker": slot})
    return workers, placed


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("work", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--tuned", action="store_true")
    options = parser.parse_args()
    main(options.work.absolute(), options.model.absolute(), is_tuned=options.tuned)
