"""The same work by Spezia and, soon, by what a user would run instead: makespans, losses, and where time goes.

    python benchmarks/equal_work.py --rounds 1 --out /tmp/mine.jsonl [--data BANKING77] [--trials 3 --rows 96]

A workload is a list of configurations without sampler or pruner, which each system carries out to the end
(`equal_work/workload.py`). The systems take turns. Each run appends its line to ``--out`` at once, so that a comparison
that is interrupted keeps what it had. ``idle_s`` are the worker-seconds in which nothing trained, by reason
(`equal_work/idle.py`); ``turnaround_ms`` is the median from a trial's last report to the next one's first step.

``--trials`` and ``--rows`` make a workload smaller, to try something out: compare only figures of one workload on one
machine in one sitting.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from equal_work.idle import summarise
from equal_work.workload import CONFIGURATIONS, make_workload

from trainer.model.model_source import resolve_model

PARTS = Path(__file__).parent / "equal_work"
RESULTS = Path(__file__).parent / "results" / "equal_work.jsonl"
SYSTEMS = ("spezia",)
MODEL = "sentence-transformers/all-MiniLM-L6-v2"


def run_system(work: Path, model: Path) -> dict[str, Any]:
    command = [sys.executable, "-P", str(PARTS / "spezia_search.py"), str(work), str(model)]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    environment.pop("OMP_NUM_THREADS", None)
    started_at = time.time()
    ended = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return {"started_at": started_at} | json.loads(ended.stdout.splitlines()[-1])


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=SYSTEMS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workload", choices=CONFIGURATIONS, default="seven")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--rows", type=int, default=480)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    model = options.model or resolve_model(MODEL, None, []).directory
    workload = make_workload(options.workload, options.data, n_trials=options.trials, n_rows=options.rows, model=model)
    steps = [math.ceil(len(workload.train) / one["batch_size"]) for one in workload.configurations]
    with tempfile.TemporaryDirectory() as folder:
        workload.write(Path(folder))
        for round_ in range(options.rounds):
            for system in options.systems:
                run = run_system(Path(folder), model)
                result = {
                    "at": datetime.now(UTC).isoformat(timespec="seconds"),
                    "system": system,
                    "round": round_,
                    "workload": workload.describe(),
                    **summarise(run, steps),
                    "losses": [round(loss, 4) for loss in run["losses"]],
                    "load": os.getloadavg()[0],
                }
                with options.out.open("a") as file:
                    file.write(json.dumps(result) + "\n")
                print(json.dumps(result, indent=1))
