"""A part for each shape: how fast trials of a model of this shape train here, and what that takes.

    python figures.py SHAPE

Rows are random words, all of one length, so that no figure depends on padding. Three trials run: one is timed, one is
timed that takes its steps by themselves instead of as CUDA graphs, and one such is looked into, which takes time and
would see nothing of a graph.
"""

import itertools
import json
import math
import random
import re
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from findings import Tell, take_stdout
from peaks import matmul_tflops, wait_for
from random_models import SHAPES, SMALL, Shape, save_random, words_of
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from spezia.contract.study_spec import StudySpec
from trainer.model.best_model import BestModel
from trainer.model.device import choose_device
from trainer.model.device_memory import peak_memory, reset_peak_memory
from trainer.train import trial_steps
from trainer.train.checkpoint import Checkpoints
from trainer.train.fine_tune import fine_tune
from trainer.train.prepare import Prepared, prepare
from trainer.trial.checkpoint_folder import CheckpointFolder
from trainer.trial.config import TrialConfig


def _attention_operations(query: torch.Size, key: torch.Size, value: torch.Size, *_: Any, **__: Any) -> int:
    """Count a forward pass of attention, whose heads may share keys, which torch itself does not count."""
    rows, heads, n_queries, width = query
    return 2 * rows * heads * n_queries * key[2] * (width + value[3])


ATTENTION = {
    operation: count
    for name in ("efficient", "flash", "cudnn")
    for operation, count in {
        getattr(torch.ops.aten, f"_scaled_dot_product_{name}_attention"): _attention_operations,
        # a backward pass computes five products where a forward pass computes two
        getattr(torch.ops.aten, f"_scaled_dot_product_{name}_attention_backward"): (
            lambda gradient, *shapes, **more: _attention_operations(*shapes, **more) * 5 // 2
        ),
    }.items()
}
N_PROFILED = 3
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def main(name: str) -> None:
    tell = take_stdout()
    device = choose_device()
    shape = (SHAPES if device.type == "cuda" else SMALL)[name]
    with tempfile.TemporaryDirectory() as folder:
        prepared = prepare_study(Path(folder), shape, device)
    precision = prepared.facts.precision
    tell(
        {
            "is_small": device.type != "cuda",
            "parameters": prepared.facts.parameters,
            "precision": precision,
            "batch_size": shape.batch_size,
            "tokens_per_row": shape.tokens,
            "method": shape.params["method"],
        }
    )
    step_seconds = time_trial(prepared, shape, tell, "")
    with without_graphs():
        time_trial(prepared, shape, tell, "_without_graphs")
        ended_at = time.perf_counter()
        tera_operations = look_into_trial(prepared, shape, ended_at, tell)
    peak = matmul_tflops(device, DTYPES[precision])
    tell(
        {
            "tflop_per_step": round(tera_operations, 6),
            "matmul_tflops": peak,
            "share_of_matmul_peak": round(tera_operations / step_seconds / peak, 4),
        }
    )


def prepare_study(folder: Path, shape: Shape, device: torch.device) -> Prepared:
    words = words_of(shape)
    save_random(folder / "model", shape, words)
    draw = random.Random(0)
    files = {"train": "train.jsonl", "validation": "validation.jsonl"}
    for split, n_batches in {"train": shape.n_steps, "validation": 2}.items():
        texts = [" ".join(draw.choices(words, k=shape.tokens - 2)) for _ in range(n_batches * shape.batch_size)]
        rows = [{"text": text, "label": "ab"[row % 2]} for row, text in enumerate(texts)]
        (folder / files[split]).write_text("".join(json.dumps(row) + "\n" for row in rows))
    body: dict[str, Any] = {
        "task": shape.task,
        "model": {"name": "model"},
        "data": files | {"max_length": shape.tokens},
        "search_space": {"learning_rate": {"type": "float", "low": 1e-6, "high": 1e-3, "log": True}},
        "training": {"similarity": False},
    }
    return prepare(StudySpec.model_validate(body), roots=[folder], device=device)


def without_graphs() -> AbstractContextManager[object]:
    return patch.object(trial_steps, "recorder", lambda *_: None)


def time_trial(prepared: Prepared, shape: Shape, tell: Tell, suffix: str) -> float:
    """Tell speed and memory of a trial, under names that end in ``suffix``; return the seconds of a step."""
    # the first sixth of the steps, in which kernels are chosen and memory is found, does not count
    first, last = shape.n_steps // 6, shape.n_steps - 1
    at: dict[int, float] = {}

    def note(step: int) -> None:
        wait_for(prepared.device)
        at[step] = time.perf_counter()

    reset_peak_memory()
    run_trial(prepared, shape, 0, {first: lambda: note(first), last: lambda: note(last)})
    seconds = (at[last] - at[first]) / (last - first)
    tell(
        {
            f"step_seconds{suffix}": round(seconds, 6),
            f"tokens_per_second{suffix}": round(shape.batch_size * shape.tokens / seconds),
            f"peak_memory_bytes{suffix}": peak_memory() or None,
        }
    )
    return seconds


def look_into_trial(prepared: Prepared, shape: Shape, earlier_ended_at: float, tell: Tell) -> float:
    """Tell how soon a trial follows the one before and what a step asks of the device; return 10^12 operations of a
    step's matrix products."""
    counter = FlopCounterMode(display=False, custom_mapping=ATTENTION)
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if prepared.device.type == "cuda" else [])]
    profiler = profile(activities=activities)

    def note_start() -> None:
        wait_for(prepared.device)
        tell({"seconds_between_trials": round(time.perf_counter() - earlier_ended_at, 3)})

    def stop_counting() -> None:
        counter.__exit__(None, None, None)

    def stop_profiling() -> None:
        profiler.stop()
        # cudaLaunchKernel, cuLaunchKernelEx and so on, and not the kernels, of which some begin with cutlass
        calls = {
            row.key: row.count / N_PROFILED for row in profiler.key_averages() if re.match(r"cu(da)?[A-Z]", row.key)
        }
        launches = [n_calls for name, n_calls in calls.items() if "LaunchKernel" in name]
        tell({"kernel_launches_per_step": round(sum(launches), 1) or None, "cuda_calls_per_step": rounded(calls)})

    # between two of these steps lies one whole step of the trial
    marks = {
        1: note_start,
        4: counter.__enter__,
        5: stop_counting,
        8: profiler.start,
        8 + N_PROFILED: stop_profiling,
    }
    run_trial(prepared, shape, 1, marks)
    return counter.get_total_flops() / 1e12


def rounded(calls: Mapping[str, float]) -> dict[str, float]:
    return {name: round(n_calls, 1) for name, n_calls in sorted(calls.items())}


def run_trial(prepared: Prepared, shape: Shape, number: int, marks: Mapping[int, Callable[[], Any]]) -> None:
    """Run a trial of one epoch, and call each of ``marks`` after the optimizer step that it stands for."""
    n_steps = itertools.count()

    def before_step() -> bool:
        marks.get(next(n_steps), lambda: None)()
        return False

    config = TrialConfig.from_params(
        {"learning_rate": 1e-5, "epochs": 1, "batch_size": shape.batch_size} | shape.params
    )
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Checkpoints(
            folder=CheckpointFolder(Path(folder)),
            study_id="f" * 32,
            number=number,
            attempt=1,
            versions={},
            resume=None,
            is_stop_wanted=before_step,
            every_seconds=math.inf,
        )
        for _ in fine_tune(prepared, config, seed=0, number=number, best=BestModel(), checkpoints=checkpoints):
            pass
    assert next(n_steps) == shape.n_steps


if __name__ == "__main__":
    main(sys.argv[1])
