"""Time until a good model, in real runs: a search by Spezia beside one by Optuna as it comes, on a core each.

    python benchmarks/time_to_target.py --peers-python PEERS/bin/python --banking BANKING77 [--precision bf16]

Three tasks of the size of `ft_tasks.py`, none of which chose anything in Spezia's preset: other intents of Banking77,
and docstrings of sympy and of torch, of which the subpackage is asked. On each, at the same time, Spezia runs the study
that ``spezia init`` proposes, with one worker, and Optuna a search over the same hyperparameters around
`transformers.Trainer`, with TPE and the median pruner as they come (`equal_work/peers/optuna_search.py`), each pinned
to a core of its own: to the other one on the next task. Both have 20 trials, the same rows, the same model, and start
from nothing, imports included.

PEERS is an environment of `equal_work/peers/requirements.txt`. A line for each task goes to ``--out``: the losses that
were the best so far, with seconds since the start, and ``target``, the worse of the two final bests, with the seconds
after which each had reached it. It wants a machine that does nothing else; what else runs there slows both.
"""

import argparse
import ast
import importlib.util
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from equal_work.workload import Workload
from ft_tasks import CARD_INTENTS, Row, cut, draw_banking, intents

from service.cli.local_service import local_service
from service.settings import Settings
from spezia import Client, StudySpec
from spezia.client.calls import ENDED
from spezia.common.first_choices import preset_for
from trainer.model.model_source import resolve_model

PEER = Path(__file__).parent / "equal_work" / "peers" / "optuna_search.py"
RESULTS = Path(__file__).parent / "results" / "time_to_target.jsonl"
MODEL = "sentence-transformers/all-MiniLM-L6-v2"
NAME = "time-to-target"
POLL_SECONDS = 0.25

Curve = list[tuple[float, float]]
"""Seconds since the start, ascending, with the validation loss that was the best so far."""


def main(options: argparse.Namespace) -> None:
    model = resolve_model(MODEL, None, []).directory.absolute()
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        raise SystemExit("two cores are needed: one for either search")
    for seed, (task, train, validation) in enumerate(draw_tasks(options.banking)):
        line = {"task": task, "seed": seed, "trials": options.trials, "precision": options.precision}
        with tempfile.TemporaryDirectory() as folder:
            work = Path(folder) / "work"
            work.mkdir()
            Workload(
                name=task, data=task, train=train, validation=validation, configurations=[], precision=options.precision
            ).write(work)
            line |= run_pair(work, model, options, seed, cores[seed % 2], cores[(seed + 1) % 2])
        line |= {"rows": len(train), "load": round(os.getloadavg()[0], 2)}
        line |= {"machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"}
        line |= {"at": datetime.now(UTC).isoformat(timespec="seconds")}
        with options.out.open("a") as file:
            file.write(json.dumps(line) + "\n")
        print({name: value for name, value in line.items() if not isinstance(value, list)}, file=sys.stderr)


def draw_tasks(banking: Path) -> Iterator[tuple[str, list[Row], list[Row]]]:
    """Yield the name of each task, its rows to train and those to validate."""
    others = [intent for intent in intents(banking)[1::5] if intent not in CARD_INTENTS]
    yield "banking-others", *draw_banking(banking, others[:10], n_train=16, n_validation=12)
    yield (
        "sympy",
        *cut(docstrings("sympy", ("combinatorics", "core", "functions", "physics", "polys", "stats")), 24, 20),
    )
    yield "torch", *cut(docstrings("torch", ("distributed", "fx", "nn", "onnx", "utils")), 28, 20)


def docstrings(package: str, subpackages: tuple[str, ...]) -> Iterator[Row]:
    """Yield the first sentences of public functions and classes, each with the subpackage it is from."""
    for subpackage in subpackages:
        spec = importlib.util.find_spec(package)
        assert spec is not None
        assert spec.origin is not None
        root = Path(spec.origin).parent / subpackage
        for file in sorted(root.rglob("*.py")):
            if "tests" in file.parts:
                continue
            for one in ast.parse(file.read_text()).body:
                if isinstance(one, ast.FunctionDef | ast.ClassDef) and not one.name.startswith("_"):
                    text = " ".join((ast.get_docstring(one) or "").split("\n\n")[0].split())
                    if len(text.split()) > 4:
                        yield text[:200], subpackage


def run_pair(
    work: Path, model: Path, options: argparse.Namespace, seed: int, our_core: int, peers_core: int
) -> dict[str, Any]:
    """Run both searches at the same time; return their curves and what they come to."""
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1"}
    command = ["taskset", "-c", str(peers_core), str(options.peers_python), str(PEER), str(work), str(model)]
    command += ["--seed", str(seed), "--trials", str(options.trials)]
    started_at = time.time()
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as peer:
        # what is started below inherits it
        os.sched_setaffinity(0, {our_core})
        ours = search(work, model, options, seed, started_at)
        printed, _ = peer.communicate()
    if peer.returncode:
        raise SystemExit(f"{PEER.name} failed")
    # the Trainer prints its own logs between them
    evaluations = [json.loads(line) for line in printed.splitlines() if line.startswith('{"at"')]
    theirs = improvements((one["at"] - started_at, one["loss"]) for one in evaluations)
    target = max(ours[-1][1], theirs[-1][1])
    return {
        "target": target,
        "spezia_s": seconds_until(ours, target),
        "optuna_s": seconds_until(theirs, target),
        "spezia_best": ours[-1][1],
        "optuna_best": theirs[-1][1],
        "spezia": ours,
        "optuna": theirs,
    }


def search(work: Path, model: Path, options: argparse.Namespace, seed: int, started_at: float) -> Curve:
    """Carry out our study; return the best loss over time, as whoever polls it sees it."""
    spec = make_spec(work, model, options, seed)
    seen: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(home=Path(folder), n_workers=1)
        with local_service(settings, [work, model]) as (url, _), Client(url) as client:
            client.create_study(spec)
            after, has_ended = 0, False
            while not has_ended:
                time.sleep(POLL_SECONDS)
                # asked for before the curves, so that these hold all of a study that has ended
                has_ended = client.get_study(NAME).state in ENDED
                curves = client.curves(NAME, after=after)
                after = curves.sequence
                at = time.time() - started_at
                seen += [(at, value) for values in curves.values for value in values if value is not None]
            if (state := client.get_study(NAME).state) != "complete":
                raise SystemExit(f"the study is {state}")
    return improvements(seen)


def make_spec(work: Path, model: Path, options: argparse.Namespace, seed: int) -> StudySpec:
    """Return the study that ``spezia init`` proposes for this data, with the format and seed of the comparison."""
    n_rows = len((work / "train.csv").read_text().splitlines()) - 1
    return StudySpec.model_validate(
        {
            "name": NAME,
            "task": "text-classification",
            "model": {"name": str(model)},
            "data": {split: str((work / f"{split}.csv").absolute()) for split in ("train", "validation")},
            "preset": preset_for("text-classification", n_rows),
            "n_trials": options.trials,
            "training": {"precision": options.precision},
            "seed": seed,
        }
    )


def improvements(seen: Iterable[tuple[float, float]]) -> Curve:
    """Return what was better than all before it."""
    curve: Curve = []
    best = math.inf
    for at, loss in sorted(seen):
        if loss < best:
            best = loss
            curve.append((round(at, 2), round(loss, 5)))
    return curve


def seconds_until(curve: Curve, target: float) -> float:
    return next(at for at, loss in curve if loss <= target)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--peers-python", type=Path, required=True)
    parser.add_argument("--banking", type=Path, required=True)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32", help="number format of both")
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--out", type=Path, default=RESULTS)
    main(parser.parse_args())
