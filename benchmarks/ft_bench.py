"""Learning curves of real fine-tuning: the same 129 configurations of seven hyperparameters on six small tasks.

    python benchmarks/ft_bench.py --export-data DATA --banking FOLDER --vader vaderSentiment-0.5.zip
    OMP_NUM_THREADS=1 python benchmarks/ft_bench.py --data DATA --model MINILM --out OUT --precision bf16

The first command writes the tasks' tables and the plan, which `ft_tasks.py` describes. The second trains, as a worker
does, on CUDA if there is one: every configuration on every task under seed 0, the tasks by turns, then the baseline and
the best 8 of each task under seeds 1 to 8, with the loss of every validation row. Each finished trial is a line of
``OUT/runs.jsonl``, and started again the command goes on behind the last. ``--seconds`` bounds it: three quarters of
them are for seed 0, and the rest for the other seeds of the best so far. At its end it writes all that has finished to
``OUT/ft_table.npz``, which `ft_table.py` describes, and prints one JSON line.
"""

import argparse
import json
import math
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ft_table import METRICS, Table
from ft_tasks import export
from transformers import PreTrainedModel
from transformers.utils.logging import disable_progress_bar, set_verbosity_error

from spezia.common.parent import end_by_kernel
from spezia.contract.study_spec import StudySpec
from trainer.errors import Diverged
from trainer.model.best_model import BestModel
from trainer.model.device import choose_device, describe_device
from trainer.model.forward import forward
from trainer.model.pretrained import Pretrained
from trainer.train.fine_tune import fine_tune
from trainer.train.prepare import Prepared, prepare
from trainer.trial.config import TrialConfig
from trainer.trunk.cache import TrunkCache

FEEDBACK = Path(__file__).parent.parent / "examples" / "feedback"
N_BEST = 8
FIRST_SHARE = 0.75
"""Share of a bounded time in which every configuration is to run once."""
MAX_ROW_TOKENS = 64


@dataclass(frozen=True)
class Job:
    """One trial to be run."""

    task: str
    configuration: int
    seed: int


class RowLosses(BestModel):
    """Tells the loss of each validation row at the best evaluation of a trial."""

    def __init__(self, prepared: Prepared) -> None:
        super().__init__()
        self._prepared = prepared
        self._model: PreTrainedModel | None = None

    def keep(self, pretrained: Pretrained, model: PreTrainedModel) -> None:
        """Keep the weights, and the model that they are of."""
        super().keep(pretrained, model)
        self._model = model

    @torch.no_grad()
    def losses_N(self) -> list[float]:
        """Score the rows, in the order of the split, when the trial has ended; none if it was never evaluated."""
        if self._model is None:
            return []
        model = self._model.eval()
        model.load_state_dict(self.state_dict(), strict=False)
        split = self._prepared.validation
        batch = split.collate(np.arange(len(split)), model.device)
        logits = forward(model, batch, self._prepared.facts.precision)
        return self._prepared.task.losses(logits, batch.targets).tolist()


class Keepsake(BestModel):
    """Keeps nothing of a trial: its curve is all that is wanted."""

    def keep(self, pretrained: Pretrained, model: PreTrainedModel) -> None:
        """Keep nothing."""


class Bench:
    """Trains the trials of a plan in one process, which prepares each task when it first meets it."""

    def __init__(self, plan: dict[str, Any], data: Path, model: Path, trunks: Path, precision: str) -> None:
        self._plan = plan
        self._precision = precision
        self._data = data
        self._model = model
        self._prepared: dict[str, Prepared] = {}
        self._device = choose_device()
        # a GPU waits for the host, which has less to do without
        self._cache = TrunkCache(trunks) if self._device.type == "cpu" else None
        self._device_name = describe_device(self._device).name

    def run(self, job: Job, ends_at: float) -> dict[str, Any] | None:
        """Train one trial to its end; ``None`` if it would last longer than to ``ends_at`` (``time.monotonic``)."""
        if job.task not in self._prepared:
            spec = study_of(self._plan, job.task, self._data, self._model, self._precision)
            self._prepared[job.task] = prepare(spec, roots=[self._data, self._model], device=self._device)
        prepared = self._prepared[job.task]
        config = TrialConfig.from_params(self._plan["configurations"][job.configuration])
        best = RowLosses(prepared) if job.seed else Keepsake()
        started_at = time.monotonic()
        evaluations: list[list[float]] = []
        state = "complete"
        try:
            trial = fine_tune(prepared, config, seed=job.seed, number=job.configuration, best=best, cache=self._cache)
            for evaluation in trial:
                evaluations.append([evaluation.metrics[name] for name in METRICS])
                if time.monotonic() > ends_at:
                    return None
        except Diverged:
            state = "diverged"
        found = vars(job) | {
            "state": state,
            "seconds": time.monotonic() - started_at,
            "device": self._device_name,
            "evaluations": evaluations,
        }
        return found | ({"row_losses": best.losses_N()} if isinstance(best, RowLosses) else {})


_BENCH: list[Bench] = []
"""The bench of a process of the pool."""


def begin(plan: dict[str, Any], data: Path, model: Path, trunks: Path, precision: str, parent_pid: int) -> None:
    end_by_kernel(parent_pid, signal.SIGKILL)
    torch.set_num_threads(1)
    disable_progress_bar()
    set_verbosity_error()
    _BENCH.append(Bench(plan, data, model, trunks, precision))


def run(job: Job, ends_at: float) -> dict[str, Any] | None:
    return None if time.monotonic() > ends_at else _BENCH[0].run(job, ends_at)


def main(
    data: Path,
    model: Path,
    out: Path,
    *,
    precision: str,
    processes: int,
    seconds: float,
    n_configurations: int,
    n_seeds: int,
) -> None:
    started_at = time.monotonic()
    out.mkdir(parents=True, exist_ok=True)
    plan = json.loads((data / "plan.json").read_text())
    plan["configurations"] = plan["configurations"][:n_configurations]
    done = read_runs(out / "runs.jsonl")
    before = len(done)
    context = multiprocessing.get_context("spawn")  # who has touched CUDA, if only by asking for it, cannot fork
    begin_with = (plan, data, model, out / "trunks", precision, os.getpid())
    with (
        (out / "runs.jsonl").open("a") as log,
        ProcessPoolExecutor(processes, context, begin, begin_with) as pool,
    ):
        for jobs, share in ((first_jobs(plan), FIRST_SHARE), (repeat_jobs(plan, done, n_seeds), 1.0)):
            ends_at = started_at + share * seconds
            finished = {(found["task"], found["configuration"], found["seed"]) for found in done}
            left = [job for job in jobs if (job.task, job.configuration, job.seed) not in finished]
            for future in as_completed([pool.submit(run, job, ends_at) for job in left]):
                if future.exception() is not None:
                    print(future.exception(), file=sys.stderr)
                elif (found := future.result()) is not None:
                    log.write(json.dumps(found) + "\n")
                    log.flush()
                    done.append(found)
    if done:
        Table.of_runs(plan, done).save(out / "ft_table.npz")
    new = done[before:]
    print(
        json.dumps(
            {
                "finished": len(done),
                "of_these_now": len(new),
                "now": {
                    "first": sum(not found["seed"] for found in new),
                    "repeats": sum(found["seed"] > 0 for found in new),
                },
                "diverged": sum(found["state"] == "diverged" for found in done),
                "seconds": round(time.monotonic() - started_at, 1),
                "mean_trial_seconds": round(sum(found["seconds"] for found in new) / max(1, len(new)), 2),
            }
        )
    )


def read_runs(file: Path) -> list[dict[str, Any]]:
    """Return the trials of all whole lines, and cut off one that was being written when a process ended."""
    if not file.exists():
        return []
    lines = file.read_text().splitlines(keepends=True)
    whole = [line for line in lines if line.endswith("\n")]
    if whole != lines:
        file.write_text("".join(whole))
    return [json.loads(line) for line in whole]


def study_of(plan: dict[str, Any], task: str, data: Path, model: Path, precision: str) -> StudySpec:
    return StudySpec.model_validate(
        {
            "name": task,
            "task": "text-classification",
            "model": {"name": str(model.absolute())},
            "data": {split: str((data / f"{task}-{split}.csv").absolute()) for split in ("train", "validation")}
            | {"columns": {"text": "text", "label": "label"}, "max_length": MAX_ROW_TOKENS},
            "objective": {"metric": "validation_loss"},
            "search_space": plan["search_space"],
            "training": {
                "evaluations_per_epoch": plan["evaluations_per_epoch"],
                "early_stopping_patience": None,
                "precision": precision,
                "similarity": False,
            },
        }
    )


def first_jobs(plan: dict[str, Any]) -> Iterator[Job]:
    for configuration in range(len(plan["configurations"])):
        for task in plan["tasks"]:
            yield Job(task, configuration, 0)


def repeat_jobs(plan: dict[str, Any], done: Sequence[dict[str, Any]], n_seeds: int) -> Iterator[Job]:
    """Yield what to run again: all tasks under one seed, then under the next.

    The best are those of ``done`` when the first job is asked for; the baseline is always among them.
    """
    chosen = {}
    for task in plan["tasks"]:
        losses = {
            found["configuration"]: min((values[0] for values in found["evaluations"]), default=math.inf)
            for found in done
            if found["task"] == task and not found["seed"]
        }
        chosen[task] = sorted({0, *sorted(losses, key=losses.__getitem__)[:N_BEST]})
    for seed in range(1, n_seeds + 1):
        for task, configurations in chosen.items():
            for configuration in configurations:
                yield Job(task, configuration, seed)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--export-data", type=Path, help="write the tasks and the plan here, and train nothing")
    parser.add_argument("--banking", type=Path, help="folder of banking77_train.csv and banking77_test.csv")
    parser.add_argument("--vader", type=Path, help="vaderSentiment-0.5.zip")
    parser.add_argument("--data", type=Path, help="what --export-data wrote")
    parser.add_argument("--model", type=Path, help="folder of all-MiniLM-L6-v2")
    parser.add_argument("--out", type=Path, help="where runs.jsonl is kept")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=math.inf)
    parser.add_argument("--configurations", type=int, default=129, help="how many, the baseline among them")
    parser.add_argument("--seeds", type=int, default=8)
    given = parser.parse_args()
    if given.export_data:
        export(given.export_data, feedback=FEEDBACK, banking=given.banking, vader=given.vader, n_configurations=128)
    else:
        main(
            given.data,
            given.model,
            given.out,
            precision=given.precision,
            processes=given.processes,
            seconds=given.seconds,
            n_configurations=given.configurations,
            n_seeds=given.seeds,
        )
