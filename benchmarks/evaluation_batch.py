"""How many tokens one forward pass of an evaluation should hold on this machine's device.

    python benchmarks/evaluation_batch.py [ROUNDS]

Scores all-MiniLM-L6-v2 on the rows that examples/feedback trains on: as they are, and eight joined to one; by the
whole model, and with its first four blocks from the trunk cache. The sizes take turns in one process, so that
whoever shares the machine slows all of them down alike. Prints one JSON line for each kind of work: median seconds by
tokens of a pass (this process's own on the CPU, where that is the device), and how far the losses lie apart.
"""

import csv
import json
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedModel

from spezia.cli.study_file import load_study_file
from trainer.model.device import choose_device
from trainer.model.forward import forward
from trainer.model.trial_model import make_trial_model
from trainer.train.evaluate import evaluate
from trainer.train.prepare import Prepared, prepare
from trainer.trial.config import TrialConfig
from trainer.trunk.cache import TrunkCache
from trainer.trunk.open_trunk import open_trunk

STUDY = Path(__file__).parent.parent / "examples" / "feedback" / "study.yaml"
TOKENS = (256, 512, 1_024, 2_048, 4_096, 8_192, 16_384, 65_536)
FROZEN = 4


def main(rounds: int) -> None:
    device = choose_device()
    torch.set_num_threads(1)
    for joined in (1, 8):
        with tempfile.TemporaryDirectory() as folder:
            join_rows(Path(folder), joined)
            spec = load_study_file(STUDY)
            tables = {name: str(Path(folder) / f"{name}.csv") for name in ("train", "validation", "test")}
            spec = spec.model_copy(update={"data": spec.data.model_copy(update={"max_length": 512} | tables)})
            prepared = prepare(spec, roots=[Path(folder)], device=device)
            prepared = replace(prepared, validation=prepared.train)
            for frozen, (model, fed) in kinds(prepared, TrunkCache(Path(folder) / "cache")):
                found = measure(model, fed, rounds)
                length = round(float(prepared.train.lengths_N.mean()), 1)
                print(
                    json.dumps({"device": device.type, "mean_tokens": length, "cached_blocks": frozen, **found}),
                    flush=True,
                )


def join_rows(folder: Path, joined: int) -> None:
    """Copy the study's tables, with ``joined`` texts of one label as one."""
    for table in STUDY.parent.glob("*.csv"):
        texts = defaultdict(list)
        with table.open(newline="") as file:
            for row in csv.DictReader(file):
                texts[row["label"]].append(row["text"])
        with (folder / table.name).open("w", newline="") as file:
            write = csv.writer(file)
            write.writerow(["text", "label"])
            for label, of_label in texts.items():
                write.writerows([" ".join(of_label[i : i + joined]), label] for i in range(0, len(of_label), joined))


def kinds(prepared: Prepared, cache: TrunkCache) -> Iterator[tuple[int, tuple[PreTrainedModel, Prepared]]]:
    for frozen in (0, FROZEN):
        config = TrialConfig.from_params({"frozen_layers": frozen})
        model = prepared.pretrained.new_model(seed=0, number=0).to(prepared.device)

        def probe(model: PreTrainedModel = model) -> None:
            forward(model, prepared.train.collate(np.zeros(1, dtype=np.int64), model.device), prepared.facts.precision)

        make_trial_model(model, prepared.pretrained, config, probe=probe, n_steps=1, seed=0)
        splits = open_trunk(cache, model, frozen, (prepared.train, prepared.validation), prepared.facts)
        yield frozen, (model, replace(prepared, train=splits[0], validation=splits[1]))


def measure(model: PreTrainedModel, prepared: Prepared, rounds: int) -> dict[str, object]:
    seconds: dict[int, list[float]] = defaultdict(list)
    losses = []
    clock = time.process_time if model.device.type == "cpu" else time.perf_counter
    for _ in range(rounds + 1):
        for tokens in TOKENS:
            started = clock()
            scores = evaluate(model, prepared.task, prepared.validation, prepared.facts.precision, tokens=tokens)
            seconds[tokens].append(clock() - started)
            losses.append(scores["loss"])
    medians = {tokens: round(statistics.median(of_size[1:]), 3) for tokens, of_size in seconds.items()}
    return {"seconds": medians, "loss_range": max(losses) - min(losses)}


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
