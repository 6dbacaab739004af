"""How wrong quotes are: what studies said at their beginning that they would take, and what they took.

    OMP_NUM_THREADS=1 python benchmarks/quote.py service|alone [STUDY …]

`service` runs small studies of several tasks, methods, ranges of batches and pruners, by a service with local workers,
in device seconds. `error` is the study's own `quote_error`; `is_within_interval` says whether the device seconds lie in
the quoted interval.

`alone` carries out trials of the same studies in this process, each to its end, one after the other, in its own seconds
on the CPU: others on the machine disturb these little, but neither service nor pruners nor several workers are in them.

Prints one JSON line for each study and one about all. Models have random weights and texts are made of made-up words of
very different lengths, so nothing is downloaded.
"""

import csv
import json
import os
import random
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx2
import torch
from gpu_check.random_models import Shape, bert, decoder, save_random, words_of

from service.cli.local_service import local_service
from service.search.quote.draw_params import draw_params
from service.search.quote.quote_study import quote_study
from service.settings import Settings
from spezia import Client, StudySpec
from spezia.contract.pruners import NoPruner
from trainer.model.best_model import BestModel
from trainer.train.fine_tune import fine_tune
from trainer.train.prepare import prepare
from trainer.train.time_steps import time_steps
from trainer.trial.config import TrialConfig
from trainer.trunk.cache import TrunkCache

AIM = 0.25
"""Error that a quote is to stay below."""

N_TRAIN, N_VALIDATION = 192, 64
VOCABULARY = 2_000
ENCODER, DECODER = (
    Shape(task=task, config=config, batch_size=1, tokens=1, n_steps=1, params={})
    for task, config in (
        ("text-classification", bert(192, 4, 4, VOCABULARY)),
        ("causal-lm", decoder(192, 4, 4, 4, 768, VOCABULARY)),
    )
)

_RATE = {"learning_rate": {"type": "float", "low": 1e-5, "high": 1e-3, "log": True}}
_BATCHES = {"batch_size": {"type": "categorical", "choices": [8, 16, 32]}}
_EPOCHS = {"epochs": {"type": "int", "low": 1, "high": 3}}
_USUAL = _RATE | _BATCHES | _EPOCHS
STUDIES: dict[str, dict[str, Any]] = {
    "full": {"search_space": _USUAL},
    "wide batches": {"search_space": _USUAL | {"batch_size": {"type": "int", "low": 2, "high": 64, "log": True}}},
    "one batch, hyperband": {
        "search_space": _RATE | {"epochs": {"type": "int", "low": 2, "high": 6}},
        "pruner": {"name": "hyperband"},
    },
    "frozen layers, median": {
        "search_space": _USUAL | {"frozen_layers": {"type": "int", "low": 0, "high": 4}},
        "pruner": {"name": "median", "options": {"n_startup_trials": 3}},
    },
    "three methods": {
        "search_space": _USUAL | {"method": {"type": "categorical", "choices": ["full", "lora", "head_only"]}}
    },
    "recomputed activations": {
        "search_space": _USUAL | {"gradient_checkpointing": {"type": "categorical", "choices": [False, True]}}
    },
    "small runs": {"search_space": _USUAL, "start_small": {"fraction": 0.2, "trials": 3}},
    "numbers": {"task": "text-regression", "search_space": _USUAL},
    "spans, halving": {
        "task": "token-classification",
        "search_space": _USUAL,
        "pruner": {"name": "successive-halving"},
    },
    "language model": {
        "task": "causal-lm",
        "search_space": _USUAL,
        "training": {"evaluations_per_epoch": 2},
    },
    "language model, lora, two workers": {
        "task": "causal-lm",
        "search_space": _USUAL | {"lora_rank": {"type": "categorical", "choices": [4, 32]}},
        "fixed": {"method": "lora"},
        "n_parallel": 2,
    },
    "two workers, median": {"search_space": _USUAL, "pruner": {"name": "median"}, "n_parallel": 2},
    "rungs": {
        "search_space": _RATE | _BATCHES,
        "fixed": {"epochs": 8},
        "pruner": {"name": "rungs"},
        "n_trials": 16,
        "training": {"evaluations_per_epoch": 4},
    },
}
N_TRIALS = 6


def main(how: str, names: Sequence[str]) -> None:
    run = {"service": run_by_service, "alone": run_alone}[how]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        write_models(work)
        write_data(work)
        for name in names or STUDIES:
            rows.append(run(work, name))
            print(json.dumps(rows[-1]), flush=True)
    print(json.dumps(summary(rows)))


def run_by_service(work: Path, name: str) -> dict[str, Any]:
    """Run one study by a service of its own, whose trunk cache is empty."""
    spec = make_spec(work, name)
    n_workers = spec.n_parallel or 1
    with tempfile.TemporaryDirectory() as home:
        settings = Settings(home=Path(home), n_workers=n_workers)
        with local_service(settings, [work]) as (url, _), Client(url) as client:
            _await_workers(url, n_workers)
            client.create_study(spec)
            study = client.wait("quoted", poll_seconds=0.2)
    if study.state != "complete" or study.quote is None or study.quote_error is None:
        sys.exit(f"{name}: {study.state}, {study.failure}, quote {study.quote}, {study.trials}")
    quoted = study.quote.device_seconds
    return {
        "study": name,
        "error": round(study.quote_error, 3),
        "is_within_interval": quoted.low <= study.device_seconds <= quoted.high,
        "quoted_seconds": [round(seconds, 1) for seconds in (quoted.low, quoted.expected, quoted.high)],
        "device_seconds": round(study.device_seconds, 1),
        "saved_seconds": study.saved_seconds.model_dump(),
        "quoted_wall_seconds": round(study.quote.wall_seconds.expected, 1),
        "wall_seconds": round(study.elapsed_seconds, 1),
        "load": round(os.getloadavg()[0], 1),
    }


def run_alone(work: Path, name: str) -> dict[str, Any]:
    """Carry out trials that are drawn by chance, in this process, with an empty trunk cache."""
    torch.set_num_threads(1)
    spec = make_spec(work, name)
    prepared = prepare(spec, roots=[work], device=torch.device("cpu"))
    times = time_steps(prepared, uses_cache=True, clock=time.process_time)
    unpruned = spec.model_copy(update={"pruner": NoPruner(), "start_small": None, "baseline": False})
    facts = prepared.facts.model_copy(update={"step_times": times, "awaits_similarity": False, "test_rows": None})
    quote = quote_study(unpruned, facts, n_workers=1)
    assert quote is not None
    chance = random.Random(1)
    with tempfile.TemporaryDirectory() as folder:
        cache = TrunkCache(Path(folder))
        began_at = time.process_time()
        for number in range(spec.n_trials):
            config = TrialConfig.from_params(draw_params(spec, chance, {}))
            deque(fine_tune(prepared, config, seed=0, number=number, best=BestModel(), cache=cache), maxlen=0)
        seconds = time.process_time() - began_at
    quoted = quote.device_seconds
    return {
        "study": name,
        "error": round(seconds / quoted.expected - 1, 3),
        "is_within_interval": quoted.low <= seconds <= quoted.high,
        "quoted_seconds": [round(one, 1) for one in (quoted.low, quoted.expected, quoted.high)],
        "cpu_seconds": round(seconds, 1),
        "load": round(os.getloadavg()[0], 1),
    }


def make_spec(work: Path, name: str) -> StudySpec:
    """Return the spec of a study on the data and models in ``work``."""
    changes = STUDIES[name]
    task = changes.get("task", "text-classification")
    return StudySpec.model_validate(
        {
            "name": "quoted",
            "task": task,
            "model": {"name": str(work / ("decoder" if task == "causal-lm" else "encoder"))},
            "data": {part: str(work / f"{task}-{part}.{_suffix(task)}") for part in ("train", "validation", "test")},
            "n_trials": N_TRIALS,
            "sampler": {"name": "random"},
        }
        | changes
    )


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Say how many quotes meet the aim."""
    return {
        "studies": len(rows),
        "share_within_aim": sum(abs(row["error"]) <= AIM for row in rows) / len(rows),
        "share_within_interval": sum(row["is_within_interval"] for row in rows) / len(rows),
        "cores": os.cpu_count(),
    }


def write_models(work: Path) -> None:
    save_random(work / "encoder", ENCODER, words_of(ENCODER))
    save_random(work / "decoder", DECODER, words_of(DECODER))


def write_data(work: Path) -> None:
    """Write rows of 3 to 60 words, most of them short, of which a task can learn something."""
    chance = random.Random(0)
    words = words_of(ENCODER)
    sizes = {"train": N_TRAIN, "validation": N_VALIDATION, "test": N_VALIDATION}
    for part, n_rows in sizes.items():
        texts = [chance.choices(words, k=min(60, 3 + int(chance.expovariate(1 / 15)))) for _ in range(n_rows)]
        numbers = [sum(int(word[1:]) for word in text) / len(text) / VOCABULARY for text in texts]
        _write_csv(work / f"text-classification-{part}.csv", texts, [f"c{int(number * 10) % 4}" for number in numbers])
        _write_csv(work / f"text-regression-{part}.csv", texts, numbers)
        _write_csv(work / f"causal-lm-{part}.csv", texts, None)
        with (work / f"token-classification-{part}.jsonl").open("w") as file:
            for text in texts:
                tags = ["B-low" if int(word[1:]) < VOCABULARY // 5 else "O" for word in text]
                file.write(json.dumps({"tokens": text, "tags": tags}) + "\n")


def _write_csv(path: Path, texts: Sequence[Sequence[str]], labels: Sequence[object] | None) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text"] if labels is None else ["text", "label"])
        writer.writerows(_rows(texts, labels))


def _rows(texts: Sequence[Sequence[str]], labels: Sequence[object] | None) -> Iterator[list[object]]:
    for index, text in enumerate(texts):
        yield [" ".join(text), *([] if labels is None else [labels[index]])]


def _suffix(task: str) -> str:
    return "jsonl" if task == "token-classification" else "csv"


def _await_workers(url: str, n_workers: int) -> None:
    """Wait for the workers, which a quote counts."""
    while len(httpx2.get(f"{url}/v1/workers").json()["workers"]) < n_workers:
        time.sleep(0.1)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
