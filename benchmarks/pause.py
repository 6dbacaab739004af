"""What it costs to pause a trial and to resume it: bytes of its checkpoint, seconds to save and to load it.

    OMP_NUM_THREADS=1 python benchmarks/pause.py [FOLDER]

Fine-tunes all-MiniLM-L6-v2 with the tokens of examples/feedback for a few optimizer steps, pauses it after an
evaluation that was the best so far or between two, and resumes it, five times for each method; FOLDER is where
checkpoints are written, a temporary one by default. Prints one JSON line a case, with the medians of seconds on the
clock and of this process on the CPU. Making the model, which a trial that begins anew does as well, is not counted.
"""

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spezia.cli.study_file import load_study_file
from spezia.contract.assignments import Resume
from trainer.model.best_model import BestModel
from trainer.train.checkpoint import Checkpoints, Preempted, TrialState
from trainer.train.fine_tune import fine_tune
from trainer.train.prepare import Prepared, prepare
from trainer.trial.checkpoint_folder import CheckpointFolder
from trainer.trial.config import TrialConfig

STUDY = Path(__file__).parent.parent / "examples" / "feedback" / "study.yaml"
METHODS: dict[str, dict[str, Any]] = {
    "full": {},
    "frozen_layers: 4": {"frozen_layers": 4},
    "lora": {"method": "lora", "lora_rank": 8},
    "head_only": {"method": "head_only"},
}
ROUNDS = 5
N_ROWS, BATCH_SIZE = 32, 16


@dataclass(frozen=True, kw_only=True)
class Timed(Checkpoints):
    """Checkpoints that measure themselves."""

    seconds: dict[str, float] = field(default_factory=dict)

    def restore(self, state: TrialState) -> int:
        with self._measured("load"):
            return super().restore(state)

    def save(self, state: TrialState, *, optimizer_steps: int) -> None:
        with self._measured("save"):
            super().save(state, optimizer_steps=optimizer_steps)

    @contextmanager
    def _measured(self, name: str) -> Iterator[None]:
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self.seconds[name] = time.perf_counter() - wall
        self.seconds[f"cpu_{name}"] = time.process_time() - cpu


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    prepared = prepare(load_study_file(STUDY), roots=[STUDY.parent], device=torch.device("cpu"))
    few = {name: getattr(prepared, name).take(np.arange(N_ROWS)) for name in ("train", "validation")}
    prepared = replace(prepared, **few)
    for method, params in METHODS.items():
        for is_best in (True, False):
            path = folder / f"{method}-{is_best}"
            rounds = [pause_and_resume(prepared, params, path / str(n), is_best=is_best) for n in range(ROUNDS)]
            medians = {name: round(statistics.median(one[name] for one in rounds), 4) for name in rounds[0]}
            print(json.dumps({"method": method, "is_best": is_best, **medians}), flush=True)


def pause_and_resume(prepared: Prepared, params: dict[str, Any], folder: Path, *, is_best: bool) -> dict[str, float]:
    n_looks = N_ROWS // BATCH_SIZE + (1 if is_best else 2)
    paused = run(prepared, params, timed(folder, n_looks))
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    resumed = run(prepared, params, timed(folder, 1, resume=Resume(attempt=1, step=1)))
    seconds = {name: paused[name] for name in ("save", "cpu_save")} | resumed
    cpu = seconds["cpu_save"] + seconds["cpu_load"]
    return {"megabytes": size / 1e6, **seconds, "together": seconds["save"] + seconds["load"], "cpu_together": cpu}


def timed(folder: Path, n_looks: int, *, resume: Resume | None = None) -> Timed:
    """Checkpoints of a trial that is stopped at the look of this number, before an optimizer step."""
    looks = iter(range(1, n_looks + 1))
    return Timed(
        folder=CheckpointFolder(folder),
        study_id="f" * 32,
        number=0,
        attempt=2 if resume else 1,
        versions={"torch": torch.__version__},
        resume=resume,
        is_stop_wanted=lambda: next(looks) == n_looks,
    )


def run(prepared: Prepared, params: dict[str, Any], checkpoints: Timed) -> dict[str, float]:
    """Train until the trial is stopped, and return the seconds that its checkpoints took."""
    config = TrialConfig.from_params({"learning_rate": 1e-4, "batch_size": BATCH_SIZE, "epochs": 3} | params)
    with suppress(Preempted):
        list(fine_tune(prepared, config, seed=0, number=0, best=BestModel(), checkpoints=checkpoints))
        raise AssertionError("the trial was not stopped")
    return checkpoints.seconds


if __name__ == "__main__":
    if sys.argv[1:]:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(Path(temporary))
