"""The same work by Spezia and by what a user would run instead: makespans, losses, and where time goes.

    python benchmarks/equal_work.py --systems spezia --rounds 1 --out mine.jsonl            # where Spezia's time goes
    python benchmarks/equal_work.py --peers-python PEERS/bin/python [--data BANKING77]      # beside the tuned peers
    python benchmarks/equal_work.py … --systems spezia optuna ray                           # … as users write them
    python benchmarks/equal_work.py … --workload ten-seconds
    python benchmarks/equal_work.py … --precision bf16                                      # all systems in bf16

A workload is a list of configurations without sampler or pruner, which each system carries out to the end
(`equal_work/workload.py`): ``seven`` are twelve trials of the seven hyperparameters, ``ten-seconds`` 24 trials of one
length. The systems take turns, each round beginning with another one. Each run appends its line to ``--out`` at once,
and each round says how it stands, so that a comparison that is interrupted keeps what it had.

PEERS is an environment of `equal_work/peers/requirements.txt`; BANKING77 a folder of ``banking77_train.csv`` and
``banking77_test.csv``, of which the first ten intents are taken, absent: examples/feedback. In a line of results,
``idle_s`` are the worker-seconds in which nothing trained, by reason (`equal_work/idle.py`); ``turnaround_ms`` is the
median from a trial's last report to the next one's first step; ``share_of_peak`` what the workload takes at least, of
what the machine's matrix products, timed by ``matmul_tflops``, do in the makespan (`equal_work/arithmetic.py`).

``--trials`` and ``--rows`` make a workload smaller, to try something out: compare only figures of one workload on one
machine in one sitting.
"""

import argparse
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from equal_work.arithmetic import least_tflop, matmul_tflops
from equal_work.compare import OURS, compare, table
from equal_work.idle import summarise
from equal_work.workload import KINDS, Workload, make_workload

from trainer.model.model_source import resolve_model

ROOT = Path(__file__).parent.parent
PARTS = Path(__file__).parent / "equal_work"
RESULTS = Path(__file__).parent / "results" / "equal_work.jsonl"
MODEL = "sentence-transformers/all-MiniLM-L6-v2"
PEERS = {
    "optuna-tuned": ("optuna_trainer.py", "--tuned", "--processes", str(os.cpu_count())),
    "ray-tuned": ("ray_trainer.py", "--tuned"),
    "optuna-tuned-threads": ("optuna_trainer.py", "--tuned"),
    "optuna": ("optuna_trainer.py",),
    "ray": ("ray_trainer.py",),
}
"""Programs of the other systems: tuned, with a process of one thread for each core; tuned, with one process of a thread
for each core; and as their users write them."""


def main(options: argparse.Namespace) -> None:
    model = (options.model or resolve_model(MODEL, None, []).directory).absolute()
    workload = make_workload(
        options.workload,
        options.data,
        model,
        precision=options.precision,
        n_trials=options.trials,
        n_rows=options.rows,
    )
    sitting = describe_sitting(workload, model)
    for system in options.systems:
        read_libraries(system, options.peers_python)
    lines: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        workload.write(Path(folder))
        for round_ in range(options.rounds):
            first = round_ % len(options.systems)
            for system in options.systems[first:] + options.systems[:first]:
                line = {"system": system, "round": round_, "load": round(os.getloadavg()[0], 2)}
                run = run_system([*command_of(system, options.peers_python), folder, str(model)])
                line |= describe_run(run, workload, sitting)
                lines.append(line)
                append(options.out, line | sitting)
                print(f"{system}: {line['makespan_s']} s", file=sys.stderr)
            compared = compare(lines, [one["frozen_layers"] for one in workload.configurations])
            print(table(lines, compared), flush=True)
    if compared:
        append(options.out, {"compared": compared} | sitting)


def read_libraries(system: str, peers_python: Path | None) -> None:
    """Import what a system imports, so that no run reads from the disk what later ones find in memory."""
    if system == OURS:
        python, libraries = sys.executable, "service.app, trainer.engine.process"
    else:
        python, libraries = str(peers_python), "datasets, transformers.trainer, "
        libraries += "ray.tune" if system.startswith("ray") else "optuna"
    subprocess.run([python, "-c", f"import {libraries}"], check=True)


def describe_sitting(workload: Workload, model: Path) -> dict[str, Any]:
    """Return what all lines of one call of this program have in common."""
    commit = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    return {
        "sitting": datetime.now(UTC).isoformat(timespec="seconds"),
        "workload": workload.describe() | {"least_tflop": round(least_tflop(workload, model), 6)},
        "matmul_tflops": round(matmul_tflops(workload.precision), 4),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "commit": commit.stdout.strip(),
    }


def command_of(system: str, peers_python: Path | None) -> list[str]:
    """Return the command of a system, to which the folders of work and model are added."""
    if system == OURS:
        return [sys.executable, "-P", str(PARTS / "spezia_search.py")]
    program, *options = PEERS[system]
    return [str(peers_python), str(PARTS / "peers" / program), *options]


def run_system(command: list[str]) -> dict[str, Any]:
    """Run a system's program; return what it found, and when it was started."""
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    # each system's own choice
    environment.pop("OMP_NUM_THREADS", None)
    started_at = time.time()
    ended = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return {"started_at": started_at} | json.loads(ended.stdout.splitlines()[-1])


def describe_run(run: dict[str, Any], workload: Workload, sitting: dict[str, Any]) -> dict[str, Any]:
    """Return a run's figures for a line of results."""
    steps_of_epoch = [math.ceil(len(workload.train) / one["batch_size"]) for one in workload.configurations]
    figures = summarise(run, steps_of_epoch)
    share = sitting["workload"]["least_tflop"] / figures["makespan_s"] / sitting["matmul_tflops"]
    losses = [round(loss, 6) for loss in run["losses"]]
    return figures | {"share_of_peak": round(share, 4), "losses": losses, "versions": run["versions"]}


def append(file: Path, line: dict[str, Any]) -> None:
    with file.open("a") as opened:
        opened.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--systems", nargs="+", choices=[OURS, *PEERS], default=[OURS, "optuna-tuned", "ray-tuned"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workload", choices=KINDS, default="seven")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32", help="number format of all systems")
    parser.add_argument("--peers-python", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--model", type=Path, help="folder of a BERT without a head; absent: all-MiniLM-L6-v2")
    parser.add_argument("--trials", type=int)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    if given.peers_python is None and set(given.systems) != {OURS}:
        parser.error("--peers-python is needed to run peers; --systems spezia runs without")
    main(given)
