"""The frozen-trunk cache: CPU seconds per epoch with and without it, on one thread.

    python benchmarks/trunk_cache.py [FROZEN_LAYERS …]

Fine-tunes all-MiniLM-L6-v2 on examples/feedback for three epochs of batch 16, evaluation included, three times
for each depth: without the cache, with an empty cache, and with one that an earlier trial has filled. Prints one
JSON line a depth. The first epoch of "empty" holds the making of the entries; the losses show equal work. The
seconds are this process's own on the CPU, so that others on the machine disturb them little.
"""

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from spezia.cli.study_file import load_study_file
from trainer.model.best_model import BestModel
from trainer.train.fine_tune import fine_tune
from trainer.train.prepare import Prepared, prepare
from trainer.trial.config import TrialConfig
from trainer.trunk.cache import TrunkCache

STUDY = Path(__file__).parent.parent / "examples" / "feedback" / "study.yaml"
EPOCHS = 3


def main(depths: list[int]) -> None:
    torch.set_num_threads(1)
    prepared = prepare(load_study_file(STUDY), roots=[STUDY.parent], device=torch.device("cpu"))
    for depth in depths:
        with tempfile.TemporaryDirectory() as folder:
            cache = TrunkCache(Path(folder))
            runs = {"none": run(prepared, depth, None), "empty": run(prepared, depth, cache)}
            runs["filled"] = run(prepared, depth, cache)
            size = sum(file.stat().st_size for file in Path(folder).glob("*.trunk"))
        print(json.dumps({"frozen_layers": depth, "cache_bytes": size, **runs}), flush=True)


def run(prepared: Prepared, depth: int, cache: TrunkCache | None) -> dict[str, Any]:
    config = TrialConfig.from_params(
        {"learning_rate": 1e-4, "batch_size": 16, "epochs": EPOCHS, "frozen_layers": depth}
    )
    seconds, losses = [], []
    started = time.process_time()
    for evaluation in fine_tune(prepared, config, seed=0, number=0, best=BestModel(), cache=cache):
        seconds.append(round(time.process_time() - started, 2))
        losses.append(round(evaluation.metrics["validation_loss"], 6))
        started = time.process_time()
    return {"cpu_seconds_per_epoch": seconds, "validation_losses": losses}


if __name__ == "__main__":
    main([int(depth) for depth in sys.argv[1:]] or [4, 6])
